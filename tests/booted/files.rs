//! Files through the console: what was written is there, also after the machine was off.

use crate::bed::{Bed, LIMIT, or_explain, output, power_off, refused, run};

#[test]
fn files_survive_power_off_on_one_disk_and_on_a_mirror() {
    for disks in [1, 2] {
        let bed = Bed::new(disks);
        let mut guest = bed.boot_formatted();
        for command in [
            "mkdir /a",
            "mkdir /a/b",
            "write /a/b/hello 'hello, world'",
            "ln /a/b/hello /a/hard",
            "ln -s b/hello /a/soft",
            "cp /a/b/hello /copy",
            "mv /copy /a/moved",
            "write /gone x",
            "rm /gone",
        ] {
            run(&mut guest, command);
        }
        power_off(guest);

        let mut guest = bed.boot();
        run(&mut guest, "mount");
        for path in ["/a/b/hello", "/a/hard", "/a/soft", "/a/moved"] {
            assert_eq!(
                output(&mut guest, &format!("cat {path}")).trim_end(),
                "hello, world"
            );
        }
        assert!(refused(&mut guest, "cat /gone").contains("no such file"));
        assert!(refused(&mut guest, "cat /copy").contains("no such file"));
        power_off(guest);
    }
}

#[test]
fn files_survive_reboots_each_of_which_is_one_reset() {
    let bed = Bed::new(1);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /hello 'hello, world'");
    for _ in 0..5 {
        or_explain(guest.restart("reboot", LIMIT, |_| {}));
        run(&mut guest, "mount");
        assert_eq!(output(&mut guest, "cat /hello").trim_end(), "hello, world");
    }
    power_off(guest);
}

#[test]
fn wrong_input_is_told_in_one_line_and_harms_nothing() {
    let bed = Bed::new(1);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /file content");
    for command in [
        "nonsense",
        "cat",
        "cat /none",
        "mkdir /file",
        "rm /none",
        "write /file/below x",
        "kill nobody",
        "kill naming every=1parsec",
        "bench postmark files=none",
        "log shout",
        "sha256 /none",
    ] {
        let reason = refused(&mut guest, command);
        assert!(
            !reason.is_empty() && reason.lines().count() == 1,
            "`{command}`: {reason:?}"
        );
    }
    assert_eq!(output(&mut guest, "cat /file").trim_end(), "content");
    power_off(guest);
}
