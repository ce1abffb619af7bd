//! Descriptions as users write them: those of the repository are good, and every mistake is told in
//! one line that names the task and the way out.

use stack::{Device, Right, Role, Stack};

fn repository(name: &str) -> String {
    let path = format!(
        "{}/../../qemu/stacks/{name}.toml",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A small stack that is right, as the base of wrong ones.
const BASE: &str = r#"
[[task]]
name = "disk"
program = "virtio-blk"
role = "driver"
device = "virtio-blk:0"
quota = "4 MiB"

[[task]]
name = "store"
program = "twinfs"
role = "storage"
calls = ["disk"]
quota = "32 MiB"

[[task]]
name = "app"
program = "app"
role = "application"
calls = ["store", "manager"]
ports = ["0x3f8-0x3ff"]
interrupts = [4]
rights = ["inspect", "log"]
quota = "1 MiB"
arguments = "a=1 b=2"
"#;

/// The lines that a changed description gets.
fn lines(from: &str, to: &str) -> Vec<String> {
    assert!(BASE.contains(from), "the base has no {from}");
    match Stack::parse(&BASE.replacen(from, to, 1)) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_description_says_what_it_says() {
    let stack = Stack::parse(BASE).expect("the base is right");
    let app = stack.task("app").expect("app");
    assert_eq!(app.role, Role::Application);
    assert_eq!(app.calls, ["store", "manager"]);
    assert_eq!(app.ports, [(0x3f8, 0x3ff)]);
    assert_eq!(app.interrupts, [4]);
    assert_eq!(app.rights, [Right::Inspect, Right::Log]);
    assert_eq!(app.quota_pages, 256);
    assert_eq!(app.arguments, "a=1 b=2");
    assert!(!app.restart && !app.optional);
    let disk = stack.task("disk").expect("disk");
    assert_eq!(disk.device, Some(Device::VirtioBlock(0)));
    assert!(disk.restart);
    assert_eq!(
        stack.programs().into_iter().collect::<Vec<_>>(),
        ["app", "twinfs", "virtio-blk"]
    );
}

#[test]
fn the_stacks_of_the_repository_can_be_started() {
    for name in ["mirror", "single"] {
        let stack = Stack::parse(&repository(name)).unwrap_or_else(|mistakes| {
            panic!(
                "{name}: {}",
                mistakes
                    .iter()
                    .map(|m| format!("{m}\n"))
                    .collect::<String>()
            )
        });
        let console = stack.task("console").expect("a console");
        assert_eq!(console.role, Role::Console);
        assert!(console.rights.contains(&Right::Log) && console.interrupts.contains(&4));
        assert!(stack.tasks.iter().any(|task| task.role == Role::Cache));
    }
    let stores = |name| {
        let stack = Stack::parse(&repository(name)).expect("as above");
        stack
            .tasks
            .iter()
            .filter(|task| task.program == "twinfs")
            .count()
    };
    assert_eq!((stores("single"), stores("mirror")), (1, 2));
}

#[test]
fn every_mistake_is_one_line_with_the_task_and_the_way_out() {
    let cases = [
        (
            "\"store\", \"manager\"",
            "\"stor\"",
            "app",
            "calls `stor`, which is no task",
        ),
        ("\"store\", \"manager\"", "\"app\"", "app", "calls itself"),
        (
            "\"store\", \"manager\"",
            "\"store\", \"store\"",
            "app",
            "lists `store` twice",
        ),
        (
            "calls = [\"disk\"]",
            "calls = [\"app\"]",
            "store",
            "in a circle: store → app → store",
        ),
        ("calls = [\"disk\"]\n", "", "store", "calls nobody"),
        (
            "name = \"store\"",
            "name = \"disk\"",
            "disk",
            "wants the name `disk`, which `disk` has",
        ),
        (
            "name = \"store\"",
            "name = \"Store!\"",
            "Store!",
            "is no name",
        ),
        (
            "name = \"store\"",
            "name = \"manager\"",
            "manager",
            "starts `manager` by itself",
        ),
        (
            "program = \"app\"",
            "program = \"\"",
            "app",
            "program: `` is no name",
        ),
        (
            "quota = \"32 MiB\"",
            "quota = \"32 MB\"",
            "store",
            "quota: `32 MB` is no size",
        ),
        (
            "quota = \"32 MiB\"",
            "quota = \"4 KiB\"",
            "store",
            "is out of range",
        ),
        (
            "device = \"virtio-blk:0\"\n",
            "",
            "disk",
            "is a driver without a device",
        ),
        (
            "\"virtio-blk:0\"",
            "\"floppy:0\"",
            "disk",
            "`floppy:0` is no device",
        ),
        (
            "calls = [\"disk\"]",
            "calls = [\"disk\"]\ndevice = \"virtio-blk:1\"",
            "store",
            "no driver",
        ),
        (
            "interrupts = [4]",
            "interrupts = [16]",
            "app",
            "there is no line 16",
        ),
        (
            "interrupts = [4]",
            "interrupts = [4]\noptional = true",
            "app",
            "only a driver can be",
        ),
        ("\"0x3f8-0x3ff\"", "\"1016\"", "app", "is no range of ports"),
        (
            "\"0x3f8-0x3ff\"",
            "\"0x1-0x1\",\"0x2-0x2\",\"0x3-0x3\"",
            "app",
            "3 ranges of ports",
        ),
        (
            "\"0x3f8-0x3ff\"",
            "\"0x10-0x20\",\"0x20-0x21\"",
            "app",
            "some of which `app` has",
        ),
        (
            "calls = [\"disk\"]",
            "calls = [\"disk\"]\nrights = [\"log\"]",
            "app",
            "wants the right `log`, which `store` has; leave it to one of them",
        ),
        (
            "calls = [\"disk\"]",
            "calls = [\"disk\"]\ninterrupts = [4]",
            "app",
            "wants interrupt 4, which `store` has",
        ),
        (
            "role = \"storage\"",
            "role = \"storage\"\nrestart = false",
            "store",
            "cannot go on without",
        ),
    ];
    for (from, to, task, text) in cases {
        let lines = lines(from, to);
        let expected = format!("task `{task}`: ");
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with(&expected) && line.contains(text)),
            "{to}: expected `{text}` of `{task}` among {lines:#?}"
        );
        assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:#?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = BASE.replace("\"32 MiB\"", "\"32\"").replace("[4]", "[99]");
    let mistakes = Stack::parse(&text).expect_err("two mistakes");
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
}

#[test]
fn what_is_no_description_is_told_in_one_line() {
    for (text, part) in [
        ("", "no tasks"),
        ("[[task]]\nname = 1", "line 2"),
        ("[[task]]\nname = \"x\"\n", "missing field"),
        ("[[tasks]]\n", "unknown field"),
        ("this is not TOML", "line 1"),
        (
            "[[task]]\nname=\"a\"\nprogram=\"a\"\nrole=\"king\"\nquota=\"1 MiB\"",
            "unknown variant",
        ),
    ] {
        let mistakes = Stack::parse(text).expect_err(text);
        let [mistake] = mistakes.as_slice() else {
            panic!("{text}: {mistakes:?}")
        };
        let line = mistake.to_string();
        assert!(
            line.contains(part) && !line.contains('\n'),
            "{text}: {line}"
        );
    }
}

#[test]
fn more_tasks_or_callees_than_the_kernel_takes_are_a_mistake() {
    let task = |name: usize, calls: &str| {
        format!(
            "[[task]]\nname = \"t{name}\"\nprogram = \"p\"\nrole = \"application\"\ncalls = [{calls}]\n\
             quota = \"1 MiB\"\n"
        )
    };
    let many: String = (0..61).map(|name| task(name, "")).collect();
    let mistakes = Stack::parse(&many).expect_err("61 tasks");
    assert!(mistakes[0].to_string().contains("61 tasks"), "{mistakes:?}");

    let callees: Vec<String> = (1..18).map(|name| format!("\"t{name}\"")).collect();
    let mut text = task(0, &callees.join(", "));
    text.extend((1..18).map(|name| task(name, "")));
    let mistakes = Stack::parse(&text).expect_err("17 callees");
    assert!(
        mistakes[0].to_string().contains("calls 17 tasks"),
        "{mistakes:?}"
    );
}
