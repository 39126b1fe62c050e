//! Files that a process keeps for itself, and frames of the socket of a running node: read by what reads them, and written back.

use bauta::cli::kept_files::KeptFile;
use bauta::disk::StateDir;
use bauta::gateway::reread_frame;
use bauta::node::Kept;

use super::read::Case;
use super::{Refusal, told};

fn file(case: &Case) -> KeptFile {
    let name = case.text("file");
    KeptFile::ALL.into_iter().find(|file| file.name() == name).unwrap_or_else(|| panic!("no file {name}"))
}

pub(super) fn kept_file(case: &Case) {
    let (file, whole) = (file(case), case.bytes("bytes"));
    assert_eq!(file.with_content(&case.bytes("content")), whole);
    assert_eq!(file.reread(&whole).unwrap(), whole);
    if file == KeptFile::Guards {
        let scratch = tempfile::tempdir().unwrap();
        let state = StateDir::open(scratch.path().join("state")).unwrap();
        std::fs::write(state.path().join(file.name()), &whole).unwrap();
        let kept: Kept = state.read(file.name()).unwrap().unwrap();
        let says = case.part("says").unwrap();
        let keys = |list: &str| says.list(list).iter().map(|one| one.array::<32>("key")).collect::<Vec<_>>();
        assert_eq!(kept.guards.guards.iter().map(|one| one.key).collect::<Vec<_>>(), keys("guards"));
        assert_eq!(kept.second_hops.hops.iter().map(|one| one.key).collect::<Vec<_>>(), keys("second_hops"));
        let down: Vec<bool> = says.list("guards").iter().map(|one| one.flag("down")).collect();
        assert_eq!(kept.guards.guards.iter().map(|one| one.down).collect::<Vec<_>>(), down);
        assert_eq!(kept.second_hops.replaced, says.numbers("replaced"));
    }
}

pub(super) fn refused_kept_file(case: &Case) -> Refusal {
    let mut refused = told("StateError", file(case).reread(&case.bytes("bytes")).unwrap_err());
    refused.words = refused.words.rsplit_once(": ").unwrap().1.to_owned();
    refused
}

pub(super) fn frame(case: &Case) {
    let (of_node, frame) = (case.text("from") == "node", case.bytes("frame"));
    assert_eq!(reread_frame(of_node, &frame).unwrap(), frame);
    assert!(reread_frame(!of_node, &frame).is_err());
}

pub(super) fn refused_frame(case: &Case) -> Refusal {
    let error = reread_frame(case.text("from") == "node", &case.bytes("frame")).unwrap_err();
    let id = if error.to_string().contains("bound") { "Frame::Long" } else { "Frame::Malformed" };
    Refusal { id: id.to_owned(), words: error.to_string() }
}
