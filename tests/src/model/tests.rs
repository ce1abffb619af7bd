//! The oracle has to be right itself: the cases that are easily wrong.

use storage::vfs::OpenFlags;

use super::*;

const CREATE: OpenFlags = OpenFlags::WRITE
    .union(OpenFlags::READ)
    .union(OpenFlags::CREATE);

fn with_file(path: &[u8]) -> Model {
    let mut model = Model::new();
    let handle = model.open(path, CREATE, 0o644).unwrap();
    model.close(handle);
    model
}

#[test]
fn a_deleted_file_lives_until_it_is_closed() {
    let mut model = Model::new();
    let handle = model.open(b"/a", CREATE, 0o644).unwrap();
    model.write(handle, None, b"abc").unwrap();
    model.unlink(b"/a").unwrap();
    assert_eq!(model.stat(b"/a", true), Err(Error::NotFound));
    assert_eq!(model.read(handle, Some(1), 10), Ok(b"bc".to_vec()));
    assert_eq!(model.nodes.len(), 2);
    model.close(handle);
    assert_eq!(model.nodes.len(), 1);
}

#[test]
fn a_directory_is_not_moved_into_itself() {
    let mut model = Model::new();
    model.mkdir(b"/a", 0o755).unwrap();
    model.mkdir(b"/a/b", 0o755).unwrap();
    assert_eq!(model.rename(b"/a", b"/a/b/c"), Err(Error::BadArgument));
    assert_eq!(model.rename(b"/a/b", b"/a"), Err(Error::NotEmpty));
    model.rename(b"/a/b", b"/b").unwrap();
    assert_eq!(model.find(b"/b/..", true), Ok(ROOT));
    assert_eq!((model.node(ROOT).links, model.node(2).links), (4, 2));
}

#[test]
fn symbolic_links_are_followed_from_where_they_are() {
    let mut model = with_file(b"/f");
    model.mkdir(b"/d", 0o755).unwrap();
    model.symlink(b"../f", b"/d/up").unwrap();
    model.symlink(b"loop", b"/loop").unwrap();
    assert_eq!(model.stat(b"/d/up", true), model.stat(b"f", true));
    assert_eq!(model.stat(b"/loop", true), Err(Error::TooManyLinks));
    assert_eq!(model.stat(b"/f/x", true), Err(Error::NotADirectory));
    // Through a dangling link, the file it names is created.
    model.symlink(b"/d/new", b"/dangling").unwrap();
    let handle = model.open(b"/dangling", CREATE, 0o600).unwrap();
    assert_eq!(model.stat(b"/d/new", false), model.fstat(handle));
}

#[test]
fn a_gap_reads_as_zeros() {
    let mut model = with_file(b"/f");
    let handle = model.open(b"/f", CREATE, 0).unwrap();
    model.write(handle, Some(3), b"x").unwrap();
    assert_eq!(model.read(handle, None, 9), Ok(b"\0\0\0x".to_vec()));
    assert_eq!(model.read(handle, None, 9), Ok(vec![]));
}

#[test]
fn all_reasons_are_told_for_which_a_name_cannot_change_and_no_other() {
    let mut model = with_file(b"/f");
    model.mkdir(b"/a", 0o755).unwrap();
    model.mkdir(b"/a/b", 0o755).unwrap();
    model.link(b"/f", b"/a/f").unwrap();
    for (from, to, reasons) in [
        ("/f", "/g", &[][..]),
        ("/f", "/a/f", &[]),
        ("/a/b", "/a/c", &[]),
        ("/none", "/f/x", &[Error::NotADirectory, Error::NotFound]),
        ("/a", "/a/f", &[Error::BadArgument, Error::NotADirectory]),
        ("/f", "/a", &[Error::IsADirectory]),
        ("/a/b", "/a", &[Error::NotEmpty]),
        (
            "/",
            "/a",
            &[Error::Busy, Error::BadArgument, Error::NotEmpty],
        ),
    ] {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        assert_eq!(model.rename_reasons(from, to), reasons);
        match model.clone().rename(from, to) {
            Ok(()) => assert!(reasons.is_empty()),
            Err(error) => assert!(reasons.contains(&error), "{error}"),
        }
    }
    let both = [Error::NotPermitted, Error::Exists];
    assert_eq!(model.link_reasons(b"/a", b"/f"), both);
    assert_eq!(model.link_reasons(b"/f", b"/a"), [Error::Exists]);
    assert_eq!(model.link_reasons(b"/f", b"/g"), []);
}
