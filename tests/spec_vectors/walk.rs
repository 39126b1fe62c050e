//! The lookup that `spec/overview.md` goes through byte by byte: its tables are held against the vectors that they are taken from.

use bauta::limits::{BODY_LEN, CELL_LEN};
use bauta::wire::cell::{Cell, CircuitId, Command};

use crate::check::read::Case;

/// A cell as it stands on a link, opened.
fn bytes_of(cell: &Cell) -> Vec<u8> {
    let mut bytes = [0; CELL_LEN];
    cell.encode(&mut bytes);
    bytes.to_vec()
}

fn with_body(number: u32, command: Command, body: &[u8]) -> Vec<u8> {
    let mut cell = Cell::new(CircuitId(1 << 31 | number), command);
    cell.body_mut()[..body.len()].copy_from_slice(body);
    bytes_of(&cell)
}

fn case(files: &[Case], is_it: impl Fn(&Case) -> bool) -> &Case {
    files.iter().find(|case| is_it(case)).expect("it is in the file")
}

/// What each table is about, in their order.
pub(crate) fn objects(read: impl Fn(&str) -> Vec<Case>) -> Vec<Vec<u8>> {
    let (builds, messages) = (read("onion_builds"), read("messages"));
    let built = case(&builds, |case| case.number("hops") == 3);
    let path = built.list("path");
    let build = |number: u32, at: usize| {
        let body: [u8; BODY_LEN] = path[at].array("body");
        bytes_of(&Cell::build(CircuitId(1 << 31 | number), built.byte("suite"), path[at].byte("hint"), body))
    };
    let opened = |at: usize| [path[at].bytes("routing"), path[at + 1].bytes("body")[..1_960].to_vec()].concat();
    let request = built.bytes("request");
    let len = u16::try_from(request.len()).unwrap().to_be_bytes();
    let random = 1_960 - 2 - request.len() - 2 * 80;
    let at_exit = [&path[2].bytes("routing")[..], &len, &request, &built.bytes("padding")[..random]].concat();
    let message = |name: &str, of: &str| {
        let bytes = case(&messages, |case| case.has(name) && case.text(name) == of).bytes("bytes");
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
    };
    let circuits = read("onion_circuits");
    let replies = case(&circuits, |case| case.number("hops") == 3).bytes_list("reply0_bodies");
    vec![
        build(1, 0),
        opened(0),
        build(2, 1),
        opened(1),
        at_exit,
        with_body(3, Command::Ask, &message("ask", "find signed")),
        with_body(3, Command::Answer, &message("answer", "found signed")),
        case(&read("exit_answers"), |case| case.text("answer") == "find, a record").bytes("bytes"),
        with_body(1, Command::Reply0, replies.last().unwrap()),
    ]
}

/// Rows of the tables of the section: first byte, end, what is said to stand there.
pub(crate) fn tables(page: &str) -> Vec<Vec<(usize, usize, String)>> {
    let section =
        page.split("### 2.1 ").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the section is there");
    let mut tables = Vec::new();
    for line in section.lines() {
        let Some(row) = line.strip_prefix("| ") else { continue };
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let Some((from, to)) = columns[0].split_once("..") else {
            tables.push(Vec::new());
            continue;
        };
        let number = |text: &str| text.replace(',', "").parse().unwrap();
        tables.last_mut().unwrap().push((number(from), number(to), columns[1].trim_matches('`').to_owned()));
    }
    tables
}

/// Ends the test where a row does not say what is there.
pub(crate) fn assert_shows(rows: &[(usize, usize, String)], object: &[u8]) {
    let mut at = 0;
    for (from, to, said) in rows {
        assert_eq!(*from, at, "no byte is left out");
        let part = &object[*from..*to];
        match said.strip_suffix(" …") {
            _ if said == "zeros" => assert!(part.iter().all(|byte| *byte == 0), "{from}..{to}"),
            Some(begins) => assert!(part.starts_with(&crate::hex::bytes(&begins.replace(' ', ""))), "{from}..{to}"),
            None => assert_eq!(part, crate::hex::bytes(&said.replace(' ', "")), "{from}..{to}"),
        }
        at = *to;
    }
    assert_eq!(at, object.len(), "all of it is shown");
}
