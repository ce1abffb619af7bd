//! What a guest boots from: a plain tar with each task's program under its name, and the stack description
//! as `stack`. The unikernel itself is not in it; QEMU loads that.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::build::Program;

/// The content of an archive.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    /// What the tasks run, and the manager.
    pub programs: Vec<Program>,
    /// The text of the stack description.
    pub description: String,
}

impl Archive {
    /// Writes the tar to `path`.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut tar = tar::Builder::new(BufWriter::new(file));
        for program in &self.programs {
            let mut file = File::open(&program.path)
                .with_context(|| format!("cannot open {}", program.path.display()))?;
            let size = file.metadata()?.len();
            tar.append_data(&mut header(size), &program.name, &mut file)?;
        }
        let description = self.description.as_bytes();
        tar.append_data(&mut header(description.len() as u64), "stack", description)?;
        tar.into_inner()?.flush()?;
        Ok(())
    }
}

/// The same for every file, so that equal content makes equal archives.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o755);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn the_archive_has_every_program_and_the_stack_under_plain_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let binary = folder.path().join("naming-1234");
        std::fs::write(&binary, [1, 2, 3]).expect("written");
        let archive = Archive {
            programs: vec![Program {
                name: "naming".into(),
                path: binary,
            }],
            description: "[[task]]".into(),
        };
        let path = folder.path().join("archive.tar");
        archive.write(&path).expect("packed");
        let mut tar = tar::Archive::new(File::open(&path).expect("there"));
        let mut found = Vec::new();
        for entry in tar.entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("its content");
            found.push((entry.path().expect("a name").display().to_string(), content));
        }
        assert_eq!(found[0], ("naming".to_owned(), vec![1, 2, 3]));
        assert_eq!(found[1], ("stack".to_owned(), b"[[task]]".to_vec()));
    }
}
