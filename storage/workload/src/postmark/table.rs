//! The table of files, with the original's way of finding a free or a used place in it.

use alloc::{boxed::Box, vec};

use super::random::Random;

/// A file in the table. Its name follows from its number and its subdirectory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Counts creations, from one; also the name.
    pub number: u32,
    /// Which subdirectory it is in.
    pub subdirectory: u32,
    /// Its length in bytes; zero for a free place.
    pub size: u32,
}

/// Twice as many places as files at the start, as in the original.
pub struct Table {
    places: Box<[File]>,
    next: usize,
    used: usize,
}

/// Draws per place before a used one is looked for in order instead. The original draws for ever.
const DRAWS_PER_PLACE: usize = 16;

impl Table {
    /// An empty table for runs that start with so many files.
    #[must_use]
    pub fn new(files: u32) -> Self {
        Self {
            places: vec![File::default(); 2 * files as usize].into(),
            next: 0,
            used: 0,
        }
    }

    /// The next place in order, if that is free; else the first free one.
    pub fn find_free(&mut self) -> Option<usize> {
        let in_order = self
            .places
            .get(self.next)
            .is_some_and(|file| file.size == 0);
        if !in_order {
            self.next = self.places.iter().position(|file| file.size == 0)?;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// A used place at random; none if there is none.
    pub fn find_used(&self, random: &mut Random) -> Option<usize> {
        if self.used == 0 {
            return None;
        }
        for _ in 0..self.places.len() * DRAWS_PER_PLACE {
            let place = random.below(self.places.len() as u32) as usize;
            if self.places[place].size > 0 {
                return Some(place);
            }
        }
        self.places.iter().position(|file| file.size > 0)
    }

    /// What is in a place.
    #[must_use]
    pub fn get(&self, place: usize) -> File {
        self.places[place]
    }

    /// Puts a file, or nothing, into a place.
    pub fn set(&mut self, place: usize, file: File) {
        self.used -= usize::from(self.places[place].size > 0);
        self.used += usize::from(file.size > 0);
        self.places[place] = file;
    }

    /// Files in the table.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Places in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u32) -> File {
        File {
            number: 1,
            subdirectory: 0,
            size,
        }
    }

    #[test]
    fn free_places_are_taken_in_order_and_then_from_the_first_gap() {
        let mut table = Table::new(2);
        for expected in 0..4 {
            let place = table.find_free().expect("room");
            assert_eq!(place, expected);
            table.set(place, file(1));
        }
        assert_eq!(table.find_free(), None);
        table.set(1, File::default());
        table.set(2, File::default());
        assert_eq!(table.find_free(), Some(1));
        table.set(1, file(1));
        assert_eq!(table.find_free(), Some(2));
    }

    #[test]
    fn a_used_place_is_found_in_a_table_with_a_single_file() {
        let mut table = Table::new(5000);
        let mut random = Random::new(1);
        assert_eq!(table.find_used(&mut random), None);
        table.set(7777, file(1));
        assert_eq!(table.find_used(&mut random), Some(7777));
    }
}
