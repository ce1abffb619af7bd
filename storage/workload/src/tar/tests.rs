//! Archives that GNU tar made are unpacked here, and ours there; hostile ones are refused.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use std::{fs, os::unix::fs as unix, path::PathBuf, process::Command};

use futures_executor::block_on;
use storage::vfs::FileSystem as _;

use super::{header::Record, *};
use crate::{
    Go,
    stream::{DeviceReader, DeviceWriter},
    testing::{MemoryDevice, MemoryFs},
};

/// A directory of the host that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("galago-tar-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    fn tar(&self, arguments: &[&str]) -> String {
        let output = Command::new("tar")
            .env("LC_ALL", "C")
            .current_dir(&self.0)
            .args(arguments)
            .output()
            .expect("GNU tar is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && errors.is_empty(),
            "tar {arguments:?}: {errors}"
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 23) as u8)
        .collect()
}

const SIZES: [usize; 7] = [0, 1, 511, 512, 513, 65_536, 200_001];

/// Paths that need a ustar prefix, and one that no ustar header holds.
fn long_paths() -> [String; 3] {
    let component = |len: usize| "n".repeat(len);
    [
        component(100),
        format!("{}/{}", component(95), component(90)),
        format!("{}/{}/{}", component(200), component(100), component(101)),
    ]
}

fn import_bytes(archive: &[u8], system: &MemoryFs) -> Result<Imported, Failure> {
    let mut reader = Reader::new(archive);
    block_on(import(system, &mut reader, b"/to", &mut |_, _| Go::On))
}

#[test]
fn what_gnu_tar_packs_is_unpacked_in_every_format() {
    for format in ["v7", "ustar", "oldgnu", "gnu", "posix"] {
        let scratch = Scratch::new(format);
        let tree = scratch.0.join("tree");
        fs::create_dir_all(tree.join("empty")).expect("mkdir");
        for size in SIZES {
            fs::write(tree.join(format!("size{size}")), bytes(size)).expect("write");
        }
        unix::symlink("size1", tree.join("symlink")).expect("symlink");
        fs::hard_link(tree.join("size513"), tree.join("zlink")).expect("link");
        let long = match format {
            "v7" => &[][..],
            "ustar" => &long_paths()[..2],
            _ => &long_paths()[..],
        };
        let long_link = "t".repeat(150);
        for path in long {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            fs::write(path, b"long").expect("write");
        }
        if !matches!(format, "v7" | "ustar") {
            unix::symlink(&long_link, tree.join("longlink")).expect("symlink");
        }
        let option = format!("--format={format}");
        let time = "--mtime=@1700000000.25";
        scratch.tar(&[
            &option,
            time,
            "--sort=name",
            "--mode=a=rx",
            "-cf",
            "a.tar",
            "tree",
        ]);
        let archive = fs::read(scratch.0.join("a.tar")).expect("read");

        // From a device, as in the guest: what follows the archive there must not matter.
        let mut image = archive;
        image.extend_from_slice(&[0xaa; 5000]);
        let device = MemoryDevice::with(&image);
        let system = MemoryFs::new();
        let imported = block_on(async {
            let stream = DeviceReader::new(&device).await.expect("attach");
            let mut reader = Reader::new(stream);
            import(&system, &mut reader, b"/to", &mut |_, _| Go::On).await
        })
        .unwrap_or_else(|failure| panic!("{format}: {failure}"));
        assert_eq!(
            imported.files as usize,
            SIZES.len() + long.len(),
            "{format}"
        );
        assert_eq!(system.open_count(), 0);
        for size in SIZES {
            assert_eq!(
                system.content(&format!("/to/tree/size{size}")),
                bytes(size),
                "{format}"
            );
        }
        for path in long {
            assert_eq!(
                system.content(&format!("/to/tree/{path}")),
                b"long",
                "{format}"
            );
        }
        assert_eq!(system.content("/to/tree/symlink"), b"size1");
        assert_eq!(system.content("/to/tree/zlink"), bytes(513));
        if !matches!(format, "v7" | "ustar") {
            assert_eq!(system.content("/to/tree/longlink"), long_link.as_bytes());
        }
        let stat = |path: &str| block_on(system.stat(path.as_bytes(), false)).expect("stat");
        assert_eq!(stat("/to/tree/zlink").links, 2);
        assert_eq!(stat("/to/tree/size513").mode & 0o7777, 0o555);
        assert_eq!(stat("/to/tree/empty").mode & 0o7777, 0o555);
        // GNU tar writes fractions of seconds in the pax format only.
        let fraction = if format == "posix" { 250_000_000 } else { 0 };
        for path in ["/to/tree/size0", "/to/tree"] {
            assert_eq!(
                stat(path).modified_ns,
                1_700_000_000_000_000_000 + fraction,
                "{format}"
            );
        }
    }
}

#[test]
fn what_is_packed_gnu_tar_unpacks() {
    let scratch = Scratch::new("export");
    let system = MemoryFs::new();
    for size in SIZES {
        system.put(&format!("/from/size{size}"), &bytes(size));
    }
    for path in long_paths() {
        system.put(&format!("/from/{path}"), b"long");
    }
    let long_link = "t".repeat(150);
    block_on(async {
        system.mkdir(b"/from/empty", 0o700).await.expect("mkdir");
        system
            .symlink(b"size1", b"/from/symlink")
            .await
            .expect("symlink");
        system
            .symlink(long_link.as_bytes(), b"/from/longlink")
            .await
            .expect("symlink");
        system
            .link(b"/from/size513", b"/from/zlink")
            .await
            .expect("link");
        system.chmod(b"/from/size1", 0o640).await.expect("chmod");
        let time = storage::vfs::SetTime::At(1_700_000_000_000_000_000);
        system
            .utimes(b"/from/size1", storage::vfs::SetTime::Keep, time)
            .await
            .expect("utimes");
    });
    let device = MemoryDevice::new(1 << 20);
    block_on(async {
        let mut writer = Writer::new(DeviceWriter::new(&device).await.expect("attach"));
        let exported = export(&system, b"/from", &mut writer, &mut |_, _| Go::On)
            .await
            .expect("export");
        assert_eq!((exported.files, exported.links), (10, 3));
        writer
            .finish()
            .await
            .expect("end")
            .finish()
            .await
            .expect("finish");
    });
    assert_eq!(system.open_count(), 0);
    fs::write(scratch.0.join("a.tar"), device.content()).expect("write");
    fs::create_dir(scratch.0.join("to")).expect("mkdir");
    scratch.tar(&["-xpf", "a.tar", "-C", "to"]);
    let to = scratch.0.join("to");
    for size in SIZES {
        assert_eq!(
            fs::read(to.join(format!("size{size}"))).expect("read"),
            bytes(size)
        );
    }
    for path in long_paths() {
        assert_eq!(fs::read(to.join(path)).expect("read"), b"long");
    }
    assert_eq!(
        fs::read_link(to.join("symlink")).expect("link"),
        PathBuf::from("size1")
    );
    assert_eq!(
        fs::read_link(to.join("longlink")).expect("link"),
        PathBuf::from(&long_link)
    );
    assert!(to.join("empty").is_dir());
    let listing = scratch.tar(&["--utc", "--full-time", "-tvf", "a.tar"]);
    let line = |name: &str| {
        listing
            .lines()
            .find(|line| line.contains(name))
            .expect(name)
            .to_string()
    };
    assert!(line(" size1").starts_with("-rw-r-----"), "{listing}");
    assert!(line(" size1").contains("2023-11-14 22:13:20"), "{listing}");
    assert!(line(" empty/").starts_with("drwx------"), "{listing}");
    assert!(line(" zlink").ends_with("link to size513"), "{listing}");

    // And back again.
    let again = MemoryFs::new();
    import_bytes(&device.content(), &again).expect("import");
    for size in SIZES {
        assert_eq!(again.content(&format!("/to/size{size}")), bytes(size));
    }
}

fn member(path: &str, kind: Kind, link: &str, data: &[u8]) -> (Member, Vec<u8>) {
    let member = Member {
        path: path.as_bytes().to_vec(),
        kind,
        link: link.as_bytes().to_vec(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: data.len() as u64,
        modified_ns: 0,
    };
    (member, data.to_vec())
}

fn pack(members: &[(Member, Vec<u8>)]) -> Vec<u8> {
    block_on(async {
        let mut writer = Writer::new(Vec::new());
        for (member, data) in members {
            writer.begin(member).await.expect("begin");
            writer.data(data).await.expect("data");
        }
        writer.finish().await.expect("finish")
    })
}

#[test]
fn paths_that_lead_out_are_refused() {
    let outside = |members: &[(Member, Vec<u8>)]| {
        let system = MemoryFs::new();
        system.put("/etc/passwd", b"root");
        let failure = import_bytes(&pack(members), &system).expect_err("unsafe");
        assert_eq!(failure.error, TarError::UnsafePath, "{failure}");
        assert_eq!(system.content("/etc/passwd"), b"root");
    };
    outside(&[member("../etc/passwd", Kind::File, "", b"x")]);
    outside(&[member("a/../../etc/passwd", Kind::File, "", b"x")]);
    outside(&[member("./.", Kind::File, "", b"x")]);
    outside(&[member("link", Kind::HardLink, "../etc/passwd", b"")]);
    outside(&[
        member("d", Kind::Symlink, "/etc", b""),
        member("d/passwd", Kind::File, "", b"x"),
    ]);
    outside(&[
        member("d", Kind::Symlink, "/etc", b""),
        member("stolen", Kind::HardLink, "d/passwd", b""),
    ]);

    let system = MemoryFs::new();
    let absolute = pack(&[member("/etc/passwd", Kind::File, "", b"x")]);
    import_bytes(&absolute, &system).expect("the slash goes");
    assert_eq!(system.content("/to/etc/passwd"), b"x");
}

#[test]
fn importing_twice_replaces_files_and_links() {
    let system = MemoryFs::new();
    let archive = |content: &[u8]| {
        pack(&[
            member("d", Kind::Directory, "", b""),
            member("d/file", Kind::File, "", content),
            member("d/hard", Kind::HardLink, "d/file", b""),
            member("d/soft", Kind::Symlink, "file", b""),
        ])
    };
    import_bytes(&archive(b"first, and longer"), &system).expect("first");
    import_bytes(&archive(b"second"), &system).expect("second");
    assert_eq!(system.content("/to/d/file"), b"second");
    assert_eq!(system.content("/to/d/hard"), b"second");
}

#[test]
fn an_archive_that_ends_early_is_an_error_wherever_it_ends() {
    let archive = pack(&[
        member("first", Kind::File, "", &bytes(1000)),
        member(&"long/file".repeat(40), Kind::File, "", b"x"),
    ]);
    let content = archive
        .iter()
        .rposition(|&byte| byte != 0)
        .expect("not empty");
    let whole = import_bytes(&archive, &MemoryFs::new()).expect("whole");
    assert_eq!(whole.files, 2);
    for len in 1..content {
        let result = import_bytes(&archive[..len], &MemoryFs::new());
        match result {
            Err(failure) => assert!(
                matches!(failure.error, TarError::Truncated(_)),
                "{len}: {failure}"
            ),
            // Between two members an archive may end without its end mark.
            Ok(imported) => {
                assert!(
                    len.is_multiple_of(RECORD_BYTES) && imported.files < 2,
                    "{len}"
                );
            }
        }
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let failure = import_bytes(&bytes(4096), &MemoryFs::new()).expect_err("noise");
    assert_eq!(format!("{failure}"), "not a tar archive");
    assert_eq!(
        import_bytes(&[0; 4096], &MemoryFs::new()),
        Ok(Imported::default())
    );
}

/// A header of this type whose size field says so much.
fn raw(kind: u8, size: &[u8; 12]) -> Record {
    let mut record: Record = [0; RECORD_BYTES];
    header::set_text(&mut record, header::NAME, b"name");
    header::set_text(&mut record, header::SIZE, size);
    record[header::TYPE] = kind;
    header::seal(&mut record);
    record
}

#[test]
fn hostile_headers_are_errors() {
    let import = |records: &[Record]| {
        import_bytes(&records.concat(), &MemoryFs::new()).map_err(|failure| failure.error)
    };
    let huge = b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff";
    let beyond = b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(import(&[raw(b'L', huge)]), Err(TarError::TooLong(0)));
    assert_eq!(import(&[raw(b'x', huge)]), Err(TarError::TooLong(0)));
    assert_eq!(import(&[raw(b'g', huge)]), Err(TarError::Truncated(0)));
    assert_eq!(import(&[raw(b'0', huge)]), Err(TarError::Truncated(0)));
    assert_eq!(
        import(&[raw(b'0', beyond)]),
        Err(TarError::Storage(storage::Error::TooBig))
    );
    assert_eq!(
        import(&[raw(b'0', b"99999999999\0")]),
        Err(TarError::BadNumber(0))
    );
    assert_eq!(
        import(&vec![raw(b'g', &[0; 12]); 100]),
        Err(TarError::BadExtension(15))
    );
    assert_eq!(
        import(&[raw(b'3', &[0; 12])]).map(|imported| imported.skipped),
        Ok(1)
    );
}

/// Whatever a damaged archive holds, it is unpacked or refused, and nothing lands outside.
#[test]
fn damaged_archives_do_no_harm() {
    let archive = pack(&[
        member("dir", Kind::Directory, "", b""),
        member("dir/file", Kind::File, "", &bytes(700)),
        member(&"p".repeat(200), Kind::File, "", b"x"),
        member("soft", Kind::Symlink, "dir/file", b""),
        member("hard", Kind::HardLink, "dir/file", b""),
    ]);
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    for round in 0..3000 {
        let mut damaged = archive.clone();
        for _ in 0..=random(3) {
            let at = random(damaged.len());
            damaged[at] = random(256) as u8;
            // A checksum that fits lets the damage through to what reads the fields.
            let start = at / RECORD_BYTES * RECORD_BYTES;
            let record = &mut damaged[start..start + RECORD_BYTES];
            if let Ok(record) = <&mut Record>::try_from(record)
                && record[header::MAGIC] == *header::POSIX_MAGIC
            {
                header::seal(record);
            }
        }
        let system = MemoryFs::new();
        let _ = import_bytes(&damaged, &system);
        let paths = system.paths();
        assert!(
            paths.iter().all(|path| path.starts_with("/to")),
            "round {round}: {paths:?}"
        );
    }
}
