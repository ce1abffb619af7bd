//! A bounded table of shared things by file number: inodes, and directories with their weight.
//!
//! What somebody holds (`Rc` counts tell) stays; of the rest, second chance picks what goes when
//! the sum of the weights passes the bound. A thing has one identity as long as it is in the table
//! or held, because what is held is never thrown out.

use alloc::{rc::Rc, vec::Vec};

use hashbrown::HashMap;

use crate::{Error, Result, file::FileNumber};

struct Slot<V> {
    number: FileNumber,
    value: Rc<V>,
    weight: usize,
    /// Used since the hand last passed.
    used: bool,
}

/// Things by file number, bounded by the sum of their weights.
pub struct Table<V> {
    places: HashMap<FileNumber, usize>,
    slots: Vec<Option<Slot<V>>>,
    free: Vec<usize>,
    hand: usize,
    weight: usize,
    weight_max: usize,
}

impl<V> Table<V> {
    /// An empty table.
    pub fn new(weight_max: usize) -> Self {
        Self {
            places: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            weight: 0,
            weight_max,
        }
    }

    /// What is there of this number; counts as a use.
    pub fn get(&mut self, number: FileNumber) -> Option<Rc<V>> {
        let slot = self.slots[*self.places.get(&number)?].as_mut()?;
        slot.used = true;
        Some(slot.value.clone())
    }

    /// Puts `value` in, in place of what is there of this number. [`Error::NoMemory`] if everything
    /// in the table is held and the bound is reached.
    pub fn insert(&mut self, number: FileNumber, value: Rc<V>, weight: usize) -> Result<()> {
        self.remove(number);
        self.make_room(weight)?;
        let slot = Some(Slot {
            number,
            value,
            weight,
            used: true,
        });
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.places.insert(number, place);
        self.weight += weight;
        Ok(())
    }

    /// Notes that what is there of this number weighs `weight` now, and throws others out for it.
    /// [`Error::NoMemory`] as for `insert`; the new weight is noted all the same.
    pub fn reweigh(&mut self, number: FileNumber, weight: usize) -> Result<()> {
        let Some(&place) = self.places.get(&number) else {
            return Ok(());
        };
        if let Some(slot) = self.slots[place].as_mut() {
            self.weight = self.weight - slot.weight + weight;
            slot.weight = weight;
        }
        self.make_room(0)
    }

    /// Takes out what is there of this number. Who holds it keeps it.
    pub fn remove(&mut self, number: FileNumber) {
        if let Some(place) = self.places.remove(&number)
            && let Some(slot) = self.slots[place].take()
        {
            self.weight -= slot.weight;
            self.free.push(place);
        }
    }

    /// Throws out what nobody holds until `more` fits. Two rounds of the hand settle it: the first
    /// takes every second chance away.
    fn make_room(&mut self, more: usize) -> Result<()> {
        let mut steps_left = 2 * self.slots.len();
        while self.weight + more > self.weight_max {
            if steps_left == 0 {
                return Err(Error::NoMemory);
            }
            steps_left -= 1;
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(slot) = self.slots[self.hand].as_mut() else {
                continue;
            };
            if Rc::strong_count(&slot.value) > 1 {
                continue;
            }
            if slot.used {
                slot.used = false;
                continue;
            }
            let number = slot.number;
            self.remove(number);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_stays_and_the_bound_holds() {
        let mut table = Table::new(3);
        let held = Rc::new(1);
        table.insert(FileNumber(1), held.clone(), 1).unwrap();
        for number in 2..100 {
            table
                .insert(FileNumber(number), Rc::new(number), 1)
                .unwrap();
            assert!(table.weight <= 3);
        }
        assert!(Rc::ptr_eq(&table.get(FileNumber(1)).unwrap(), &held));
        assert_eq!(table.get(FileNumber(99)).as_deref(), Some(&99));
        assert_eq!(table.get(FileNumber(50)), None);
    }

    #[test]
    fn a_table_full_of_held_things_says_so() {
        let mut table = Table::new(2);
        let held = [Rc::new(1), Rc::new(2)];
        table.insert(FileNumber(1), held[0].clone(), 1).unwrap();
        table.insert(FileNumber(2), held[1].clone(), 1).unwrap();
        assert_eq!(
            table.insert(FileNumber(3), Rc::new(3), 1),
            Err(Error::NoMemory)
        );
        drop(held);
        assert_eq!(table.insert(FileNumber(3), Rc::new(3), 1), Ok(()));
    }

    #[test]
    fn what_was_used_outlives_what_was_not() {
        let mut table = Table::new(4);
        for number in 0..4 {
            table
                .insert(FileNumber(number), Rc::new(number), 1)
                .unwrap();
        }
        table.insert(FileNumber(4), Rc::new(4), 1).unwrap();
        let survivor = (0..4)
            .find(|&number| table.get(FileNumber(number)).is_some())
            .unwrap();
        for number in 5..7 {
            table
                .get(FileNumber(survivor))
                .expect("what is used between insertions stays");
            table
                .insert(FileNumber(number), Rc::new(number), 1)
                .unwrap();
        }
    }
}
