//! Whether what a crash of the machine left is of one moment for all programs.
//!
//! A checkpoint has all that was done before it, of whomever, and nothing after it. An operation that began when
//! another had been answered came after that; so whoever has it on the disks must have the other, too:
//!
//! ```text
//!   a  ──── write x ────answered             found: x is there,
//!                               \                   y is not: fine
//!   b                            begins write y ──   y is there, x is not: torn
//! ```

/// A state that is the same as what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its number.
    pub state: usize,
    /// Blocks that cannot be read, and were being overwritten.
    pub unreadable: u64,
}

/// Two programs of which one is behind what the other has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The program that has something,
    pub ahead: usize,
    /// in this state,
    pub state: usize,
    /// and the one that has not what came before,
    pub behind: usize,
    /// this state or a later one.
    pub needed: usize,
}

/// A state of each program, of those that are left of it, so that all may be of one moment: the earliest. Each has
/// some, by their numbers. `known` says of a program's state which states of all were known when the operation
/// began that led to it.
///
/// # Errors
/// If there is no such moment.
pub fn find<'a>(
    left: &[Vec<Left>],
    known: impl Fn(usize, usize) -> &'a [usize],
) -> Result<Vec<Left>, Torn> {
    let mut chosen = vec![0; left.len()];
    loop {
        let mut is_one = true;
        for ahead in 0..left.len() {
            let state = left[ahead][chosen[ahead]].state;
            for (behind, &needed) in known(ahead, state).iter().enumerate() {
                // What is known of the others only grows, so each choice is forced.
                while left[behind][chosen[behind]].state < needed {
                    is_one = false;
                    chosen[behind] += 1;
                    if chosen[behind] == left[behind].len() {
                        return Err(Torn {
                            ahead,
                            state,
                            behind,
                            needed,
                        });
                    }
                }
            }
        }
        if is_one {
            return Ok(left.iter().zip(chosen).map(|(it, at)| it[at]).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Program 0 does five things. When it had been answered the third, program 1 began its second.
    const KNOWN: [[[usize; 2]; 6]; 2] = [
        [[0, 0], [0, 0], [1, 0], [2, 0], [3, 1], [4, 1]],
        [[0, 0], [1, 0], [3, 1], [3, 2], [3, 3], [3, 4]],
    ];

    fn find(left: [&[usize]; 2]) -> Result<Vec<usize>, Torn> {
        let left = left.map(|states| {
            let left = |&state: &usize| Left {
                state,
                unreadable: 0,
            };
            states.iter().map(left).collect::<Vec<_>>()
        });
        let found = super::find(&left, |program, state| &KNOWN[program][state])?;
        Ok(found.iter().map(|left| left.state).collect())
    }

    #[test]
    fn what_came_before_must_be_there_and_what_came_after_need_not() {
        assert_eq!(find([&[3], &[1]]), Ok(vec![3, 1]), "one is behind");
        assert_eq!(find([&[3], &[2]]), Ok(vec![3, 2]));
        let torn = Torn {
            ahead: 1,
            state: 2,
            behind: 0,
            needed: 3,
        };
        assert_eq!(find([&[2], &[2]]), Err(torn));
        assert!(find([&[5], &[0]]).is_err(), "the other way round");
    }

    #[test]
    fn of_several_states_that_look_the_same_any_may_be_meant() {
        assert_eq!(find([&[2, 4], &[2]]), Ok(vec![4, 2]));
        assert_eq!(find([&[5], &[0, 1]]), Ok(vec![5, 1]));
        assert_eq!(find([&[1, 2], &[1, 2]]), Ok(vec![1, 1]), "the earliest");
    }
}
