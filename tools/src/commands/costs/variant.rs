//! The stacks that are compared, and what of the paper each comparison stands beside.

use crate::guest::with_argument;

/// A stack that PostMark is run on.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// For people.
    pub name: &'static str,
    /// Which description it is made of.
    pub stack: &'static str,
    /// Its disks.
    pub disks: usize,
    /// What its tasks are told besides: program, key, value.
    pub arguments: &'static [(&'static str, &'static str, &'static str)],
}

const UNLOGGED: (&str, &str, &str) = ("twinfs", "overwrite", "unlogged");
const IN_PLACE: (&str, &str, &str) = ("twinfs", "overwrite", "in-place");
const NO_ROLL_FORWARD: (&str, &str, &str) = ("cache", "roll_forward", "off");
const NO_TWINS: (&str, &str, &str) = ("twinfs", "twins", "off");

/// In the order in which the paper adds to them, then what Galago is when nobody asks for anything else.
pub const VARIANTS: [Variant; 7] = [
    Variant {
        name: "one disk, no twins",
        stack: "single",
        disks: 1,
        arguments: &[NO_TWINS, UNLOGGED, NO_ROLL_FORWARD],
    },
    Variant {
        name: "one disk, twins",
        stack: "single",
        disks: 1,
        arguments: &[UNLOGGED, NO_ROLL_FORWARD],
    },
    Variant {
        name: "one disk, twins, resync log",
        stack: "single",
        disks: 1,
        arguments: &[IN_PLACE, NO_ROLL_FORWARD],
    },
    Variant {
        name: "mirror, twins, resync log",
        stack: "mirror",
        disks: 2,
        arguments: &[IN_PLACE, NO_ROLL_FORWARD],
    },
    Variant {
        name: "mirror, twins, both logs",
        stack: "mirror",
        disks: 2,
        arguments: &[IN_PLACE],
    },
    Variant {
        name: "mirror, relocating",
        stack: "mirror",
        disks: 2,
        arguments: &[],
    },
    Variant {
        name: "one disk, relocating",
        stack: "single",
        disks: 1,
        arguments: &[],
    },
];

impl Variant {
    /// Its description, of that of its stack.
    pub fn describe(&self, description: &str) -> String {
        let told = |text: String, (program, key, value): &(&str, &str, &str)| {
            with_argument(&text, program, key, value)
        };
        self.arguments.iter().fold(description.to_owned(), told)
    }
}

/// Two variants that differ in one thing.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// In what.
    pub what: &'static str,
    /// The one with it, of [`VARIANTS`].
    pub with: usize,
    /// The one without.
    pub without: usize,
    /// How much longer PostMark's transactions take in the paper, per cent, and where it says so.
    pub paper: Option<(f64, &'static str)>,
}

/// What is compared. The paper's figures are ratios of the seconds in its tables.
pub const COMPARISONS: [Comparison; 6] = [
    Comparison {
        what: "twins 16 blocks apart against none",
        with: 1,
        without: 0,
        paper: Some((
            100.0 * (1144.0 / 1101.0 - 1.0),
            "Table I; +2 to +8 over all its benchmarks",
        )),
    },
    Comparison {
        what: "resynchronisation log on against off",
        with: 2,
        without: 1,
        paper: Some((100.0 * (1146.0 / 1144.0 - 1.0), "Table II over I")),
    },
    Comparison {
        what: "mirror against one disk",
        with: 3,
        without: 2,
        paper: Some((100.0 * (1132.0 / 1146.0 - 1.0), "Table III over II")),
    },
    Comparison {
        what: "roll-forward log on against off",
        with: 4,
        without: 3,
        paper: Some((100.0 * (1150.0 / 1132.0 - 1.0), "Table III")),
    },
    Comparison {
        what: "relocating against overwriting in place",
        with: 5,
        without: 4,
        paper: None,
    },
    Comparison {
        what: "mirror against one disk, relocating",
        with: 5,
        without: 6,
        paper: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::project::Project;

    #[test]
    fn every_variant_is_a_stack_that_differs_as_it_says() {
        let project = Project::find().expect("tests run in a checkout");
        for variant in VARIANTS {
            let text = variant.describe(&project.stack(variant.stack).expect("a stack"));
            let stack = stack::Stack::parse(&text).expect("a stack that can be started");
            for (program, key, value) in variant.arguments {
                let mut tasks = stack.tasks.iter().filter(|task| task.program == *program);
                let word = format!("{key}={value}");
                let told = |task: &stack::Task| task.arguments.split(' ').any(|it| it == word);
                assert!(
                    tasks.clone().count() > 0 && tasks.all(told),
                    "{word}: {text}"
                );
            }
        }
    }

    #[test]
    fn what_is_compared_differs_in_one_thing() {
        for comparison in COMPARISONS {
            let [with, without] = [comparison.with, comparison.without].map(|at| VARIANTS[at]);
            let of_one = |one: &Variant, other: &Variant| {
                let missing = |it: &&_| !other.arguments.contains(it);
                one.arguments.iter().filter(missing).count()
            };
            let disks = usize::from(with.disks != without.disks);
            // A value may be replaced by another.
            let told = of_one(&with, &without).max(of_one(&without, &with));
            assert_eq!(disks + told, 1, "{}", comparison.what);
        }
    }
}
