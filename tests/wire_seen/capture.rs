//! A capture of TCP on loopback, read by hand: streams, frames, and with a key log what is in them. The tags are checked.

use std::collections::BTreeMap;

use bauta::crypto::aead::Key;
use bauta::limits::{BODY_LEN, CELL_LEN, FRAME_LEN};
use bauta::wire::cell::{Cell, Command};
use bauta::wire::hex;
use bauta::wire::message::{Answer, Ask};

/// The keys of one link, by direction: from which message on, and the key.
pub(crate) type Keys = BTreeMap<[u8; 32], Vec<[(u64, [u8; 32]); 2]>>;

/// One frame, as it is shown.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Seen {
    pub(crate) stream: usize,
    pub(crate) from: String,
    pub(crate) number: u64,
    pub(crate) kind: String,
}

impl Seen {
    pub(crate) fn line(&self) -> String {
        format!("{} {} {}: {}", self.stream, self.from, self.number, self.kind)
    }

    /// The frames of one packet, as tshark prints their fields: lists, in order.
    pub(crate) fn of_tshark(line: &str) -> Vec<Self> {
        let fields: Vec<Vec<&str>> = line.split('\t').map(|field| field.split(';').collect()).collect();
        let [stream, from, numbers, kinds] = <[Vec<&str>; 4]>::try_from(fields).unwrap();
        let seen = numbers.iter().zip(kinds).filter(|(number, _)| !number.is_empty());
        seen.map(|(number, kind)| Self {
            stream: stream[0].parse().unwrap(),
            from: from[0].to_owned(),
            number: number.parse().unwrap(),
            kind: kind.to_owned(),
        })
        .collect()
    }
}

/// Reads a key log.
pub(crate) fn keys_of(text: &str) -> Keys {
    let mut keys = Keys::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let ["bauta-link-1", ephemeral, from_i, key_i, from_r, key_r] = fields[..] else { panic!("{line}") };
        let key = |from: &str, key: &str| (from.parse().unwrap(), hex::decode(key).unwrap());
        let pair = [key(from_i, key_i), key(from_r, key_r)];
        let of_link = keys.entry(hex::decode(ephemeral).unwrap()).or_default();
        // Both ends may have said the same.
        if !of_link.contains(&pair) {
            of_link.push(pair);
        }
    }
    keys
}

/// One direction of a stream: address and port of both ends.
type Way = ([u8; 6], [u8; 6]);

/// What went each way, in the order of the streams: who dialled comes first.
fn streams(capture: &[u8]) -> Vec<[Vec<u8>; 2]> {
    assert_eq!(capture[..4], [0xd4, 0xc3, 0xb2, 0xa1], "a capture of microseconds, little-endian");
    assert_eq!(capture[20..24], [1, 0, 0, 0], "of Ethernet");
    let (mut rest, mut order, mut bytes) = (&capture[24..], Vec::<Way>::new(), BTreeMap::<Way, (u32, Vec<u8>)>::new());
    while !rest.is_empty() {
        let len = usize::try_from(u32::from_le_bytes(rest[8..12].try_into().unwrap())).unwrap();
        let ip = &rest[16 + 14..16 + len];
        rest = &rest[16 + len..];
        assert_eq!((ip[0] >> 4, ip[9]), (4, 6), "IPv4 and TCP alone");
        let tcp = &ip[usize::from(ip[0] & 15) * 4..usize::from(u16::from_be_bytes([ip[2], ip[3]]))];
        let end = |ip: &[u8], port: &[u8]| <[u8; 6]>::try_from([ip, port].concat()).unwrap();
        let way = (end(&ip[12..16], &tcp[..2]), end(&ip[16..20], &tcp[2..4]));
        let (seq, flags) = (u32::from_be_bytes(tcp[4..8].try_into().unwrap()), tcp[13]);
        let text = &tcp[usize::from(tcp[12] >> 4) * 4..];
        if flags & 2 != 0 {
            if flags & 16 == 0 {
                order.push(way);
            }
            bytes.insert(way, (seq.wrapping_add(1), Vec::new()));
        } else if let Some((first, so_far)) = bytes.get_mut(&way) {
            let at = usize::try_from(seq.wrapping_sub(*first)).unwrap();
            // Nothing is lost on loopback; what was sent twice is there already.
            if !text.is_empty() && at == so_far.len() {
                so_far.extend_from_slice(text);
            }
        }
    }
    let taken = |way: &Way| bytes.get(way).map(|(_, bytes)| bytes.clone()).unwrap_or_default();
    order.iter().map(|way| [taken(way), taken(&(way.1, way.0))]).collect()
}

/// The same capture with what went each way cut into other segments: some end within a frame, and the next has its rest and whole ones.
pub(crate) fn cut_anew(capture: &[u8]) -> Vec<u8> {
    let (header, mut rest) = capture.split_at(24);
    let (mut out, mut held) = (header.to_vec(), BTreeMap::<Way, (Vec<u8>, u32, Vec<u8>)>::new());
    let flush = |out: &mut Vec<u8>, (front, seq, bytes): (Vec<u8>, u32, Vec<u8>)| {
        let (mut seq, mut left, mut sizes) = (seq, &bytes[..], [1_000, 6_000].into_iter().cycle());
        while !left.is_empty() {
            let (piece, behind) = left.split_at(left.len().min(sizes.next().unwrap()));
            let mut packet = front.clone();
            let len = u32::try_from(packet.len() - 16 + piece.len()).unwrap();
            packet[8..12].copy_from_slice(&len.to_le_bytes());
            packet[12..16].copy_from_slice(&len.to_le_bytes());
            packet[32..34].copy_from_slice(&u16::try_from(len - 14).unwrap().to_be_bytes());
            packet[54..58].copy_from_slice(&seq.to_be_bytes());
            out.extend([&packet[..], piece].concat());
            seq = seq.wrapping_add(u32::try_from(piece.len()).unwrap());
            left = behind;
        }
    };
    while !rest.is_empty() {
        let len = 16 + usize::try_from(u32::from_le_bytes(rest[8..12].try_into().unwrap())).unwrap();
        let (packet, behind) = rest.split_at(len);
        rest = behind;
        assert_eq!(packet[30] & 15, 5, "IPv4 without options: TCP begins at 50");
        let text = 50 + usize::from(packet[62] >> 4) * 4;
        let end = |ip: usize, port: usize| <[u8; 6]>::try_from([&packet[ip..ip + 4], &packet[port..port + 2]].concat());
        let (from, to) = (end(42, 50).unwrap(), end(46, 52).unwrap());
        let seq = u32::from_be_bytes(packet[54..58].try_into().unwrap());
        let is_data = packet.len() > text;
        // What was held back of the other side, or of this one before its end, goes first.
        for way in [(to, from), (from, to)] {
            if (way.0 != from || !is_data)
                && let Some(held) = held.remove(&way)
            {
                flush(&mut out, held);
            }
        }
        if is_data {
            let entry = held.entry((from, to)).or_insert_with(|| (packet[..text].to_vec(), seq, Vec::new()));
            assert_eq!(entry.1.wrapping_add(u32::try_from(entry.2.len()).unwrap()), seq, "nothing is sent twice");
            entry.2.extend_from_slice(&packet[text..]);
        } else {
            out.extend_from_slice(packet);
        }
    }
    held.into_values().for_each(|held| flush(&mut out, held));
    out
}

/// All frames of a capture, by stream, side and number.
pub(crate) fn seen_in(capture: &[u8], keys: &Keys) -> Vec<Seen> {
    let mut all = Vec::new();
    for (stream, ways) in streams(capture).iter().enumerate() {
        let of_link = ways[0].first_chunk::<32>().and_then(|ephemeral| keys.get(ephemeral));
        for (side, bytes) in ways.iter().enumerate() {
            let mut open = BTreeMap::new();
            for (number, frame) in (0_u64..).zip(bytes.as_chunks::<FRAME_LEN>().0) {
                let kind = match number.checked_sub(1) {
                    None => format!("handshake {}", side + 1),
                    Some(message) => {
                        let key = of_link.and_then(|lines| {
                            lines
                                .iter()
                                .map(|pair| pair[side])
                                .filter(|(from, _)| *from <= message)
                                .max_by_key(|key| key.0)
                        });
                        let cell = key.and_then(|(_, key)| opened(&key, message, frame));
                        cell.map_or_else(|| "cell, sealed".to_owned(), |cell| shown(&cell, &mut open))
                    }
                };
                all.push(Seen { stream, from: ["initiator", "responder"][side].to_owned(), number, kind });
            }
        }
    }
    all
}

fn opened(key: &[u8; 32], message: u64, frame: &[u8; FRAME_LEN]) -> Option<Cell> {
    let (text, tag) = frame.split_last_chunk::<16>()?;
    let mut plain = <[u8; CELL_LEN]>::try_from(text).unwrap();
    Key::new(*key).open(message, &[], &mut plain, tag).ok()?;
    Some(Cell::decode(&plain).unwrap())
}

/// A cell in words; `open` has the bytes that messages still lack, by number.
fn shown(cell: &Cell, open: &mut BTreeMap<u32, usize>) -> String {
    let (command, circuit) = (cell.command(), cell.circuit().0);
    let mut words = format!("{command:?}");
    if command == Command::Credit {
        words.push_str(&format!(" {}", cell.credit_count().unwrap()));
    }
    if matches!(command, Command::Ask | Command::Answer) {
        let missing = open.entry(circuit).or_insert(0);
        if *missing == 0 {
            let len = usize::try_from(u32::from_be_bytes(cell.body()[..4].try_into().unwrap())).unwrap();
            *missing = len.saturating_sub(BODY_LEN - 4);
            words.push_str(&format!(" {}", named(command, &cell.body()[4..(4 + len).min(BODY_LEN)])));
        } else {
            *missing = missing.saturating_sub(BODY_LEN);
            words.push_str(" (goes on)");
        }
    }
    if circuit == 0 { words } else { format!("{words} {circuit:08x}") }
}

/// What a message is by its first byte; where it is whole it has to be one.
fn named(command: Command, start: &[u8]) -> &'static str {
    let is_whole = start.len() < BODY_LEN - 4;
    if command == Command::Ask {
        assert!(!is_whole || Ask::decode(start).is_ok());
        return ["?", "Find", "Store, nothing paid", "Members", "Differences", "Store, paid for", "Store, upkeep"]
            [usize::from(start[0])];
    }
    assert!(!is_whole || Answer::decode(start).is_ok());
    ["Refused", "Found", "Stored", "Members"][usize::from(start[0])]
}
