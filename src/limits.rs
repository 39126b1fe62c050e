//! Every cap of the system, by name, with its unit and its source; related by compile-time asserts. Knows nothing else.
//!
//! The same table, with the reasons, stands in `spec/limits.md`; a test holds the two together.

mod demand;
mod fuzz;
mod paying;
mod relations;
mod simulation;
mod store;
mod tools;
mod upkeep;

pub use demand::*;
pub use fuzz::*;
pub use paying::*;
pub use simulation::*;
pub use store::*;
pub use tools::*;
pub use upkeep::*;

use crate::time::Duration;

// ---- cells and frames (spec/cells.md) ----

/// Bytes of a cell, header included.
pub const CELL_LEN: usize = 2_048;
/// Bytes of a cell's header: circuit u32, command u8, suite u8, onion-key hint u8, zero u8.
pub const CELL_HEADER_LEN: usize = 8;
/// Bytes of a cell's body (the B of the spec).
pub const BODY_LEN: usize = CELL_LEN - CELL_HEADER_LEN;
/// Bytes of an authentication tag (Poly1305).
pub const TAG_LEN: usize = 16;
/// Bytes of an X25519 or Ed25519 public key.
pub const KEY_LEN: usize = 32;
/// Bytes of everything that crosses a socket: one sealed cell, or one padded handshake message.
pub const FRAME_LEN: usize = CELL_LEN + TAG_LEN;
/// Frames handed to the socket in one write.
pub const FRAMES_PER_WRITE_MAX: usize = 32;

// ---- onion (spec/onion.md) ----

/// Hops for which every cell leaves room; a client builds no longer path.
pub const HOPS_MAX: usize = 5;
/// Hops below which a client refuses to build.
pub const HOPS_CLIENT_MIN: usize = 3;
/// Bytes of a routing block in a build packet.
pub const ROUTING_LEN: usize = 32;
/// Bytes that one hop adds to a build packet: ephemeral key, tag, routing block.
pub const BUILD_OVERHEAD_LEN: usize = KEY_LEN + TAG_LEN + ROUTING_LEN;
/// Bytes that one hop adds to reply 0: ephemeral key, tag.
pub const REPLY0_OVERHEAD_LEN: usize = KEY_LEN + TAG_LEN;
/// Bytes of a length prefix before data on a circuit.
pub const DATA_PREFIX_LEN: usize = 2;
/// Bytes of a request inside a build packet, whatever the length of the path.
pub const REQUEST_LEN_MAX: usize = BODY_LEN - HOPS_MAX * BUILD_OVERHEAD_LEN - DATA_PREFIX_LEN;
/// Bytes of data in reply 0.
pub const REPLY0_DATA_LEN_MAX: usize = BODY_LEN - HOPS_MAX * REPLY0_OVERHEAD_LEN - DATA_PREFIX_LEN;
/// Bytes of data in a later circuit cell, either way.
pub const CIRCUIT_DATA_LEN_MAX: usize = BODY_LEN - HOPS_MAX * TAG_LEN - DATA_PREFIX_LEN;
/// Bytes of an answer to a lookup or a record put: exactly two cells.
pub const ANSWER_LEN: usize = REPLY0_DATA_LEN_MAX + CIRCUIT_DATA_LEN_MAX;
/// Seconds of one replay bucket; routing blocks carry times rounded down to it.
pub const REPLAY_BUCKET_S: u64 = 600;
/// Buckets either side of the present one in which a build packet is taken.
pub const REPLAY_BUCKET_TOLERANCE: u64 = 1;
/// Build packets remembered per relay; when full, new builds are refused, nothing is evicted.
pub const REPLAY_ENTRIES_MAX: usize = 1 << 20;
/// Seconds between two onion keys of a relay.
pub const ONION_KEY_LIFE_S: u64 = 24 * 3_600;
/// Seconds for which the previous onion key still opens build packets.
pub const ONION_KEY_OVERLAP_S: u64 = 3_600;
/// Circuits a relay carries at once.
pub const CIRCUITS_MAX: usize = 16_384;
/// Circuits that one link may have open at once.
pub const CIRCUITS_PER_LINK_MAX: usize = 4_096;
/// Build packets that one link may send in a burst.
pub const BUILDS_PER_LINK_BURST: u32 = 512;
/// Build packets per second that a relay's link may send for long.
pub const BUILDS_PER_LINK_PER_S: u32 = 256;
/// Build packets per second that a client's link may send for long.
pub const BUILDS_PER_CLIENT_LINK_PER_S: u32 = 192;
/// A circuit on which nothing happened for this long is destroyed.
pub const CIRCUIT_IDLE_MAX: Duration = Duration::from_secs(60);
/// A circuit older than this is destroyed.
pub const CIRCUIT_AGE_MAX: Duration = Duration::from_secs(600);

// ---- flow control and links (spec/link.md) ----

/// Cells that may be under way on a fresh circuit, per direction and hop.
pub const CREDIT_START: u32 = 64;
/// Cells a receiver may ever have granted ahead on one circuit.
pub const CREDIT_MAX: u32 = 512;
/// A receiver grants again after so many cells were passed on.
pub const CREDIT_STEP: u32 = 32;
/// Bytes of cells that one node holds back for want of credits, all circuits together.
pub const QUEUED_BYTES_MAX: usize = 64 << 20;
/// Cells between a node's owner and one link's task.
pub const LINK_QUEUE_CELLS_MAX: usize = 5_120;
/// Circuits of one link that ends whose clients are told that they got as far as here; the others end without a word more.
pub const NOT_REACHED_AT_ONCE_MAX: usize = 256;
/// Events between all link tasks and the owner of a node.
pub const INBOX_EVENTS_MAX: usize = 1_024;
/// Links per process: the lesser of this and half of the descriptor limit; half for those it dials, half for those it accepts.
pub const LINKS_MAX: usize = 2_048;
/// Inbound handshakes of one node not yet finished.
pub const HANDSHAKES_PENDING_MAX: usize = 256;
/// Accepted links that one IPv4 /24 or IPv6 /48 may hold at one node.
pub const INBOUND_LINKS_PER_PREFIX_MAX: usize = 64;
/// Questions that a client's link may ask in a burst.
pub const ASKS_PER_CLIENT_LINK_BURST: u32 = 32;
/// Questions per second that a client's link may ask for long.
pub const ASKS_PER_CLIENT_LINK_PER_S: u32 = 8;
/// Questions about the membership that a relay may ask in a burst, over all its links: all pages of [`MEMBERS_MAX`] relays, and more.
pub const MEMBERS_ASKS_BURST: u32 = 512;
/// Questions about the membership per second that a relay may ask for long.
pub const MEMBERS_ASKS_PER_S: u32 = 10;
/// Handshakes in a burst from one IPv4 /24 or IPv6 /48.
pub const HANDSHAKES_PER_PREFIX_BURST: u32 = 64;
/// Handshakes per second from one IPv4 /24 or IPv6 /48 for long.
pub const HANDSHAKES_PER_PREFIX_PER_S: u32 = 16;
/// Handshakes per second that a node answers in all.
pub const HANDSHAKES_PER_S: u32 = 512;
/// Prefixes whose handshakes are counted at once.
pub const HANDSHAKE_PREFIXES_MAX: usize = 4_096;
/// A handshake ends within this time or the link is closed.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connecting a socket ends within this time.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// A dial that failed within this time is tried once more at once: it was refused, not unanswered.
pub const REDIAL_WITHIN: Duration = Duration::from_secs(1);
/// Messages under one link key before it is replaced (Noise rekey).
pub const REKEY_MESSAGES: u64 = 1 << 20;
/// A link older than this gets no new circuits; a new handshake replaces it.
pub const LINK_AGE_MAX: Duration = Duration::from_secs(3_600);
/// An unpinned link leaves after this long without work.
pub const LINK_IDLE_MAX: Duration = Duration::from_secs(120);
/// A link that sent nothing for this long sends one padding cell.
pub const LINK_PADDING_AFTER: Duration = Duration::from_secs(30);
/// A link that heard nothing for this long is dead.
pub const LINK_SILENCE_MAX: Duration = Duration::from_secs(95);
/// A link on which a build packet or a question went is asked for a sign of life when nothing was heard on it for so long, and
/// given up when nothing is heard for as long again.
pub const LINK_ANSWER_MAX: Duration = Duration::from_secs(2);
/// A socket that takes nothing of a pending write for this long is dead.
pub const LINK_WRITE_STALL_MAX: Duration = Duration::from_secs(20);
/// A key that could not be dialled at an address is not dialled there again for this long.
pub const DIAL_BACKOFF: Duration = Duration::from_secs(5);

/// Frames that a link's task reads at once while it is busy.
pub const FRAMES_PER_READ_MAX: usize = 32;
/// Frames for which an idle link keeps buffers, per direction.
pub const FRAMES_IDLE_MAX: usize = 2;
/// What still waits for a link that is being closed is written within this time, or not at all.
pub const LINK_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Accepted sockets between a node's listener and its owner.
pub const ACCEPTED_MAX: usize = 64;
/// A listener that could not accept (no descriptors left) tries again after this long.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

// ---- messages between relays (spec/messages.md) ----

/// Cells of one message.
pub const MESSAGE_CELLS_MAX: usize = 64;
/// Bytes of one message.
pub const MESSAGE_LEN_MAX: usize = MESSAGE_CELLS_MAX * BODY_LEN - 4;
/// Questions one link may have open at once, per direction.
pub const ASKS_PER_LINK_MAX: usize = 1_024;
/// A question between relays is answered within this time or counts as failed.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of questions that have not come whole, all links of a node together.
pub const PARTIAL_ASKS_BYTES_MAX: usize = 64 << 20;
/// Bytes of questions that have not come whole, on one link.
pub const PARTIAL_ASKS_PER_LINK_BYTES_MAX: usize = 8 << 20;
/// A question whose cells stop coming is dropped, and its link with it, after this time.
pub const PARTIAL_ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Keys with addresses that a node remembers as not to be dialled for a moment.
pub const DIAL_BACKOFFS_MAX: usize = 4_096;
/// Descriptors in one page of a membership answer.
pub const MEMBERS_PAGE_MAX: usize = 256;

/// Fingerprints in a question for differences: what leaves it one cell long.
pub const FINGERPRINTS_MAX: usize = 640;

// ---- keyspace and lookups (spec/dht.md) ----

/// Bytes of an identifier or a location.
pub const ID_LEN: usize = 20;
/// Contacts of a bucket, and of a find-answer (Kademlia's k).
pub const BUCKET_SIZE: usize = 20;
/// Values that an exit asks for at once, and questions of a lookup to hearsay, one less (Kademlia's alpha).
pub const ALPHA: usize = 3;
/// Nodes of one IPv4 /24 or IPv6 /48 in a bucket, and among the closest set and the signers.
pub const PREFIX_PER_BUCKET_MAX: usize = 2;
/// Nodes of one IPv4 /24 or IPv6 /48 in the whole table.
pub const PREFIX_PER_TABLE_MAX: usize = 10;
/// Questions that one lookup may ask in all.
pub const LOOKUP_ASKS_MAX: usize = 64;
/// Contacts that one lookup keeps.
pub const LOOKUP_CONTACTS_MAX: usize = 256;
/// Lookups and stores that one exit works on at once.
pub const EXIT_OPERATIONS_MAX: usize = 1_024;
/// An exit answers within this time, with whatever it has.
pub const EXIT_TIMEOUT: Duration = Duration::from_secs(8);
/// Of that, what is left for storing: whoever was looked up by then is taken.
pub const EXIT_STORING_TIME: Duration = Duration::from_secs(4);
/// Lookups that a relay has under way for its operator.
pub const OWN_LOOKUPS_MAX: usize = 256;
/// Holders of a record at each of its locations.
pub const HOLDERS: usize = 5;
/// Locations of a signed value.
pub const LOCATIONS: usize = 3;
/// Holders of a chunk: parity does the rest.
pub const CHUNK_HOLDERS: usize = 2;
/// Locations at which a chunk is stored.
pub const CHUNK_LOCATIONS: usize = 1;
/// A storer refuses a value when it knows this many members closer to the location.
pub const CLOSER_MEMBERS_MAX: usize = 20;
/// Nodes that wait behind one full bucket of the table.
pub const BUCKET_WAITING_MAX: usize = 8;

// ---- repair (spec/dht.md §7, spec/link.md §5.1) ----

/// Nearest live members within which a relay looks after a record's place; so many nearest to itself it stays linked to.
pub const REPAIR_REACH: usize = HOLDERS + 2;
/// Each rank among the live holders waits so much longer before it looks after a place: the nearest usually does the work.
pub const REPAIR_STEP: Duration = Duration::from_secs(15);
/// Mean time between two looks after a place when nothing has happened.
pub const REPAIR_EVERY: Duration = Duration::from_secs(3_600);
/// A relay beyond the holders that was given a value looks after so long whether the holders lack it.
pub const REPAIR_HINT_AFTER: Duration = Duration::from_secs(30);
/// A check that did not come to its end is tried again after so long, then after twice that, up to [`REPAIR_EVERY`].
pub const REPAIR_RETRY: Duration = Duration::from_secs(120);
/// A check ends within this time, done or not.
pub const REPAIR_CHECK_MAX: Duration = Duration::from_secs(20);
/// A relay that was not asked to do anything for so long was stopped, and looks after all it holds.
pub const REPAIR_PAUSE_MIN: Duration = Duration::from_secs(30);
/// Checks of one relay under way at once.
pub const REPAIR_CHECKS_MAX: usize = 32;
/// Places that a relay looks after.
pub const REPAIR_PLACES_MAX: usize = STORE_VALUES_MAX;
/// Bytes of cells per second that a relay spends on repair for long.
pub const REPAIR_BYTES_PER_S: u64 = 1 << 20;
/// Bytes of cells that it spends on repair in a burst.
pub const REPAIR_BYTES_BURST: u64 = 4 << 20;
/// Members whose coming or going a relay has not yet held against the places that it holds; with more it looks at all places.
pub const REPAIR_PASSES_MAX: usize = 64;
/// Places that a relay holds against a change in one go.
pub const REPAIR_SCAN_MAX: usize = 64;
/// Between two such goes.
pub const REPAIR_SCAN_EVERY: Duration = Duration::from_millis(10);
/// Holders and neighbours that a relay stays linked to.
pub const REPAIR_WATCHED_MAX: usize = 64;
/// Places that a store tells in one answer.
pub const PLACES_PAGE_MAX: usize = 1_024;
/// Failed dials after which a member may count as gone.
pub const GONE_DIALS: u32 = 3;
/// From the first of them to the last at least so much passes.
pub const GONE_AFTER: Duration = Duration::from_secs(60);
/// A member that is gone is dialled again after so long.
pub const GONE_RETRY: Duration = Duration::from_secs(120);
/// A watched member whose link ended is dialled again within this time, and then about this often.
pub const WATCH_REDIAL: Duration = Duration::from_secs(15);
/// That a watched member is back is acted on once in so long.
pub const RETURN_TOLD_EVERY: Duration = Duration::from_secs(60);
/// So often a relay looks whom it has to stay linked to.
pub const NEIGHBOURS_EVERY: Duration = Duration::from_secs(30);

// ---- evidence (spec/evidence.md) ----

/// Closest nodes of which each signs what it has.
pub const SIGNERS: usize = 8;
/// Percent of the closest members known to the client that must have signed.
pub const SIGNERS_PERCENT_MIN: usize = 70;
/// Of the first [`SIGNERS`] closest members so many must be left, or a miss is unreachable.
pub const SIGNERS_LEFT_MIN: usize = 4;
/// Descriptors of newest signers in an answer.
pub const ANSWER_DESCRIPTORS_MAX: usize = 5;
/// Bytes of the nonce of a find or store.
pub const NONCE_LEN: usize = 16;
/// Statements of one answer that a client looks at.
pub const STATEMENTS_MAX: usize = 2 * SIGNERS;
/// Closest members that a client remembers when it asks: who is not among them came with an answer.
pub const NEIGHBOURS_KNOWN: usize = 4 * SIGNERS;
/// A receipt counts when its signer is among so many closest members known to the client: those whom a reader's lookup asks.
/// A holder further out would sign truly for a value that nobody finds.
pub const RECEIPT_SIGNERS_REACH: usize = SIGNERS;
/// Receipts that count although their signers became known only while the operation ran.
pub const RECEIPT_NEWCOMERS_MAX: usize = 2;

// ---- values (spec/values.md) ----

/// Bytes of a signed value's payload.
pub const PAYLOAD_LEN_MAX: usize = 1_024;
/// Bytes of an encoded signed value.
pub const RECORD_LEN: usize = 1_173;
/// Bytes of a label.
pub const LABEL_LEN_MAX: usize = 64;
/// Seconds of one expiry step.
pub const EXPIRY_STEP_S: u64 = 6 * 3_600;
/// Seconds from now beyond which no expiry is taken.
pub const EXPIRY_MAX_S: u64 = 30 * 24 * 3_600;
/// Bytes of file content in a chunk.
pub const CHUNK_LEN: usize = 64 << 10;
/// Bytes that stand before a chunk's ciphertext and decide over its key.
pub const CHUNK_TWEAK_LEN: usize = 16;
/// Bytes of a sealed chunk: tweak, ciphertext, tag.
pub const SEALED_CHUNK_LEN: usize = CHUNK_TWEAK_LEN + CHUNK_LEN + TAG_LEN;
/// Bytes of a file or folder.
pub const FILE_LEN_MAX: u64 = 64 << 30;
/// Bytes of content that [`crate::client::Client::get`] brings in one piece; more is read as a stream.
pub const GET_WHOLE_MAX: u64 = 64 << 20;
/// Chunks of content in a group; the last of a file has up to one less than twice as many.
pub const GROUP_CHUNKS: usize = 32;
/// Chunks of parity in a full group.
pub const GROUP_PARITY: usize = 36;
/// Files in a published folder, and empty folders.
pub const FOLDER_ENTRIES_MAX: usize = 100_000;
/// Bytes of a published folder's index.
pub const FOLDER_INDEX_LEN_MAX: usize = 16 << 20;
/// Components of a path in a published folder.
pub const FOLDER_DEPTH_MAX: usize = 32;
/// Bytes of a path in a published folder.
pub const FOLDER_PATH_LEN_MAX: usize = 1_024;
/// Batches of one publication that are remembered while it is under way: those of the longest.
pub const TRANSFER_BATCHES_MAX: usize = 600_000;
/// Publications that were interrupted and can go on.
pub const TRANSFERS_KEPT_MAX: usize = 64;
/// Hashes of chunks that stand in a root; more stand in chunks of their own.
pub const ROOT_HASHES_MAX: usize = 21;
/// Levels of content: the file, the hashes of its chunks, the hashes of theirs.
pub const CONTENT_LEVELS_MAX: usize = 3;
/// Groups of one transfer whose chunks are in memory at once.
pub const TRANSFER_GROUPS_MAX: usize = 3;
/// Times that a chunk is asked for before its group goes on, or ends, without it.
pub const CHUNK_TRIES_MAX: usize = 3;
/// Bytes of a published file name.
pub const FILE_NAME_LEN_MAX: usize = 255;
/// Bytes of a name that people can say; anything longer is a link or nothing.
pub const NAME_LEN_MAX: usize = 64;
/// Chunks that one circuit moves: always so many slots, filled or not.
pub const BATCH_CHUNKS: usize = 4;
/// Cells of one chunk slot on a circuit.
pub const SLOT_CELLS: usize = 34;
/// Bytes of one chunk slot.
pub const SLOT_LEN: usize = SLOT_CELLS * CIRCUIT_DATA_LEN_MAX;
/// Content circuits of one publication or audit at once.
pub const TRANSFER_CIRCUITS_MAX: usize = 4;
/// Content circuits of one content that is read, at once.
pub const READ_CIRCUITS_MAX: usize = 8;

// ---- membership, paths, guards (spec/membership.md) ----

/// Members a relay or client knows.
pub const MEMBERS_MAX: usize = 100_000;
/// Seconds for which a descriptor can be used: those on a client's disk by its rule, others by nobody longer.
pub const DESCRIPTOR_LIFE_S: u64 = 24 * 3_600;
/// Seconds after which a relay has issued its descriptor anew; three quarters of it at the least, drawn evenly.
pub const DESCRIPTOR_RENEW_S: u64 = 3_600;
/// Seconds after whose issue a relay forgets another that has not renewed its descriptor: one renewal may be missed.
pub const MEMBER_LIFE_S: u64 = 9_000;
/// Seconds by which a descriptor may lie in the future (clocks: minutes).
pub const CLOCK_SKEW_S: u64 = 600;
/// Guards in a client's ordered sample.
pub const GUARDS: usize = 3;
/// Days within which a client samples no fourth guard.
pub const GUARD_SAMPLE_LIFE_S: u64 = 30 * 24 * 3_600;
/// Days for which one guard is kept, at most.
pub const GUARD_LIFE_S: u64 = 120 * 24 * 3_600;
/// Relays from which hop two is drawn (vanguards-lite).
pub const SECOND_HOPS: usize = 4;
/// Shortest life of a second hop, seconds.
pub const SECOND_HOP_LIFE_MIN_S: u64 = 24 * 3_600;
/// Longest life of a second hop, seconds.
pub const SECOND_HOP_LIFE_MAX_S: u64 = 12 * 24 * 3_600;
/// A second hop through which so many circuits in a row failed is replaced.
pub const SECOND_HOP_FAILURES_MAX: u32 = 3;
/// A second hop by whose word so many exits were not reached is replaced, each circuit that held counting for two.
pub const SECOND_HOP_NOT_REACHED_MAX: usize = 12;
/// So many exits that were not reached does a circuit make up for that held.
pub const SECOND_HOP_NOT_REACHED_FORGIVEN: usize = 2;
/// Pull of the membership from another relay, mean interval.
pub const MEMBERS_PULL_EVERY: Duration = Duration::from_secs(30);
/// A relay tells of another for so long after their last meeting, where it has three bootstraps or fewer: a relay visits each of
/// them every two pulls times their number, so that one or two visits may fail.
pub const PRESENCE_MAX: Duration = Duration::from_secs(450);
/// Bootstraps up to which [`PRESENCE_MAX`] holds as it is; with more of them it grows with their number.
pub const PRESENCE_BOOTSTRAPS: usize = 3;
/// Percent of its members that a client drops at most because no bootstrap tells of them any more; were it to be more, it drops
/// none.
pub const ABSENT_PERCENT_MAX: usize = 50;
/// A client measures [`ABSENT_PERCENT_MAX`] against the most members that it had within so long: the life of a descriptor, after which
/// who is gone is gone anyway.
pub const ABSENT_WINDOW: Duration = Duration::from_secs(DESCRIPTOR_LIFE_S);
/// It remembers the most of each such step.
pub const ABSENT_STEP: Duration = Duration::from_secs(3_600);
/// When one of so many members that a relay knows is new to it at once, it pulls again without delay.
pub const MEMBERS_NEWS_PART: usize = 64;
/// A relay counts as settled, before its uptime alone makes it so, when hardly anybody was new to it for so long.
pub const SETTLED_QUIET: Duration = Duration::from_secs(1);
/// Percent of the relays it knows that a relay has met before it counts as settled; and of those that a settled bootstrap tells of,
/// that others must tell of, too, before its word counts.
pub const SETTLED_PERCENT_MIN: usize = 75;
/// For so long a client without a membership waits for bootstraps that have not settled, before it takes what they tell.
pub const SETTLED_WAIT: Duration = Duration::from_secs(5);
/// Mean pause before a client asks bootstraps again that have not settled; it doubles up to [`MEMBERS_FRESH_FOR`].
pub const SETTLED_ASK_AGAIN: Duration = Duration::from_millis(500);
/// Bootstraps that a joining client asks for the membership.
pub const BOOTSTRAPS_ASKED: usize = 3;
/// Bootstraps that must say the same of a relay before a client goes through it; all, where fewer are configured.
pub const BOOTSTRAPS_AGREE_MIN: usize = 2;
/// A bootstrap that is asked and gives no cell of its answer for so long has failed. Those that are left when enough have told all
/// have no longer than that either.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// However steadily pages come: bootstraps that have not told all they know within this time have failed.
pub const JOIN_TIME_MAX: Duration = Duration::from_secs(300);
/// Mean age at which a running client asks for the membership anew, at random times that no operation sets.
pub const MEMBERS_FRESH_FOR: Duration = Duration::from_secs(600);
/// Circuits that fail before a client doubts a membership from disk and asks bootstraps.
pub const STORED_MEMBERS_FAILURES_MAX: usize = 2;
/// Circuits of all its operations that a client still builds with a membership that it doubts; the others wait for a new one.
pub const DOUBTED_CIRCUITS_MAX: usize = 20;
/// A client that doubts its membership from disk waits at least so long before it asks bootstraps.
pub const STORED_MEMBERS_DOUBT_MIN: Duration = Duration::from_secs(2);
/// It has asked after so long; drawn evenly.
pub const STORED_MEMBERS_DOUBT_MAX: Duration = Duration::from_secs(15);
/// Seconds for which a membership on disk serves, at least; drawn evenly up to [`STORED_MEMBERS_LIFE_MAX_S`].
pub const STORED_MEMBERS_LIFE_MIN_S: u64 = 3 * 3_600;
/// Seconds for which a membership on disk serves, at most.
pub const STORED_MEMBERS_LIFE_MAX_S: u64 = 9 * 3_600;
/// Bootstrap nodes in a configuration.
pub const BOOTSTRAPS_MAX: usize = 64;
/// Keys proven bad that are remembered; as dear to fill as the membership itself.
pub const BANNED_MAX: usize = MEMBERS_MAX;
/// A guard whose dial has not ended after so long has the next one dialled too. Each guard more is one chance more for an
/// observer, so a slow one is waited for.
pub const GUARD_PATIENCE: Duration = Duration::from_secs(5);
/// Dials of each guard that fail before a client says that the network cannot be reached.
pub const GUARD_DIALS: u32 = 2;
/// A guard's link that ends sooner than so long after it came up counts as a dial that failed.
pub const GUARD_SETTLED: Duration = Duration::from_secs(1);
/// A guard that is down is tried again this often.
pub const GUARD_RETRY_EVERY: Duration = Duration::from_secs(60);
/// Circuits through a guard below which nothing is said of it.
pub const GUARD_CIRCUITS_JUDGED_MIN: u32 = 100;
/// At so many circuits the counts of a guard are halved.
pub const GUARD_CIRCUITS_REMEMBERED_MAX: u32 = 200;
/// A guard through which fewer percent of the circuits end whole is doubted.
pub const GUARD_FINISHED_PERCENT_MIN: u32 = 20;
/// Seconds after which it counts that too few end whole: when many relays stop at once an honest guard looks bad until its client
/// has other second hops.
pub const GUARD_DOUBTED_AFTER_S: u64 = 120;
/// So many circuits must end after them, too few being whole all the time: one alone, days after a burst, says nothing.
pub const GUARD_DOUBTED_LATE_MIN: u32 = 20;
/// So many circuits, too few being whole all the time, are no burst, however short it was.
pub const GUARD_DOUBTED_CIRCUITS_MIN: u32 = 300;
/// An operation over a doubted guard ends after so many circuits that failed in a row, the guard's link being up.
pub const GUARD_FAILURES_IN_ROW_MAX: usize = 12;
/// A client that is at work gives out the counts of its guards to be kept this often at most.
pub const GUARD_COUNTS_KEPT_EVERY: Duration = Duration::from_secs(5);
/// Second hops replaced for failing within one [`SECOND_HOP_REPLACED_WINDOW_S`]; the guard could make any of them fail.
pub const SECOND_HOP_REPLACED_MAX: usize = 8;
/// Seconds in which replacements of failing second hops are counted.
pub const SECOND_HOP_REPLACED_WINDOW_S: u64 = 48 * 3_600;

// ---- operations (spec/requests.md) ----

/// An operation ends within this time unless its caller says otherwise.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// A call that has not heard of its operation's end so long after its deadline ends by itself.
pub const OPERATION_GRACE: Duration = Duration::from_secs(10);
/// Longest time that a caller may give an operation.
pub const OPERATION_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Circuits that one operation may build in all.
pub const OPERATION_CIRCUITS_MAX: usize = 40;
/// Circuits of one operation at once: never all three of its locations.
pub const CIRCUITS_AT_ONCE_MAX: usize = 2;
/// Circuits of a get that fail before it has two built at once to each location that it asks.
pub const HEDGED_AFTER: usize = 4;
/// Circuits of a get at once from then on; still for two locations at most.
pub const CIRCUITS_HEDGED_MAX: usize = 4;
/// Answers that one operation takes for one location or batch before it gives up on it.
pub const ANSWERS_PER_PLACE_MAX: usize = 5;
/// Circuits of one operation are staggered by up to so much.
pub const STAGGER_MAX: Duration = Duration::from_millis(50);
/// A failed circuit is followed by another after up to so much.
pub const RETRY_DELAY_MAX: Duration = Duration::from_millis(200);
/// After so many failures of an operation, and so many again, the time before its next circuit grows by [`RETRY_DELAY_MAX`].
pub const RETRY_SLOWER_AFTER: u32 = 10;
/// It grows to so many times that.
pub const RETRY_SLOWER_MAX: u32 = 5;
/// One circuit's answer to a lookup or put is waited for so long.
pub const CIRCUIT_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// One batch of a transfer ends within this time.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(60);
/// Locators whose newest sequence number a client remembers, for as long as it runs.
pub const SEEN_SEQS_MAX: usize = 4_096;
/// Paths and sights that a client remembers for whoever asks.
pub const PATHS_REMEMBERED_MAX: usize = 8_192;
/// Operations of one client at once.
pub const OPERATIONS_MAX: usize = 256;
/// Jobs of a node under way in the work pool.
pub const WORK_JOBS_MAX: usize = 16_384;
/// Threads of a command that wait for files, or seal groups of chunks: each has a heap of its own, of up to eleven megabytes.
pub const BLOCKING_THREADS_MAX: usize = 4;
/// Jobs of all nodes of a process that wait for its work pools: short ones and long ones each.
pub const POOL_JOBS_MAX: usize = 4_096;
/// Store operations of a node under way, and as many that wait.
pub const STORE_OPS_MAX: usize = 4_096;
/// Commands that wait for a node's owner.
pub const COMMANDS_MAX: usize = 256;
/// Events that wait for who listens to a node; as many again wait in its owner.
pub const NODE_EVENTS_MAX: usize = 1_024;
/// Identity puzzles that a process remembers to have checked.
pub const PUZZLES_CACHED_MAX: usize = 2 * MEMBERS_MAX;

// ---- a running node and commands (spec/gateway.md) ----

/// Bytes of one frame between a command and a running node: a whole file and its wrapping.
pub const GATEWAY_FRAME_LEN_MAX: usize = 8 << 20;
/// Commands that a running node works for at once; more wait.
pub const GATEWAY_CONNECTIONS_MAX: usize = 64;
/// A command that has not said what it wants by then is not heard.
pub const GATEWAY_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A node at work says that it is, this often.
pub const GATEWAY_ALIVE_EVERY: Duration = Duration::from_secs(5);
/// A node that has said nothing, or taken nothing, for this long is given up.
pub const GATEWAY_SILENCE_MAX: Duration = Duration::from_secs(30);
/// A node that could not accept a command tries again after this time.
pub const GATEWAY_ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

// ---- state directory (spec/state.md) ----

/// Bytes of one file's content in the state directory.
pub const STATE_FILE_LEN_MAX: usize = 64 << 20;
/// The lock of the state directory is had within this time, or the command fails.
pub const STATE_LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Least mean time between two questions of a watch.
pub const WATCH_EVERY_MIN: Duration = Duration::from_millis(100);
/// Greatest mean time between two questions of a watch.
pub const WATCH_EVERY_MAX: Duration = Duration::from_secs(7 * 86_400);
/// A drawn pause of a watch is at most so many means; one in 22,000 would be longer.
pub const WATCH_PAUSE_MEANS_MAX: u32 = 10;
/// A relay that ends waits so long for its circuits.
pub const RELAY_DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// A relay has ended so long after it was asked to.
pub const RELAY_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// All relays of a devnet know each other within this time, or it fails.
pub const DEVNET_READY_TIMEOUT: Duration = Duration::from_secs(60);
/// A devnet starts one relay again so often.
pub const DEVNET_RESTARTS_MAX: usize = 1_000;
/// Lines of a devnet's relays that wait to be read.
pub const DEVNET_LINES_MAX: usize = 1_024;
/// Bytes of a line with a link or a name on standard input.
pub const TARGET_LINE_LEN_MAX: usize = 1_024;
/// Bytes of an author's key as text, as it is read.
pub const KEY_TEXT_LEN_MAX: usize = 4_096;
/// Bytes of a file of settings.
pub const CONFIG_LEN_MAX: usize = 1 << 20;
/// Greatest first sequence number of a value, before its first step; drawn evenly from 0.
pub const SEQ_FIRST_MAX: u64 = 0xffff_ffff;
/// Greatest step between two sequence numbers of a value; drawn evenly from 1.
pub const SEQ_STEP_MAX: u64 = 65_536;
/// Publications of one user whose newest sequence number is remembered; the oldest is forgotten first.
pub const PUBLISHED_REMEMBERED_MAX: usize = 4_096;
/// Keys of authors in one state directory.
pub const KEYS_MAX: usize = 1_024;
/// Bytes of a key's name.
pub const KEY_NAME_LEN_MAX: usize = 64;
/// Between two attempts at the lock.
pub const STATE_LOCK_RETRY: Duration = Duration::from_millis(5);
