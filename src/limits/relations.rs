//! How the caps are related: what does not hold does not build.

use super::*;

const _: () = assert!(1 + 33 + 33 + 8 + 2 + 3 * FINGERPRINTS_MAX <= BODY_LEN - 4);
const _: () = assert!(PRESENCE_MAX.as_secs() >= 5 * MEMBERS_PULL_EVERY.as_secs() * 3 && PRESENCE_BOOTSTRAPS == 3);
const _: () = assert!(REQUEST_LEN_MAX == 1_638);
const _: () = assert!(REPLY0_DATA_LEN_MAX == 1_798);
const _: () = assert!(CIRCUIT_DATA_LEN_MAX == 1_958);
const _: () = assert!(RECORD_LEN < REQUEST_LEN_MAX);
const _: () = assert!(SEALED_CHUNK_LEN + 64 < SLOT_LEN && SLOT_LEN - SEALED_CHUNK_LEN < CIRCUIT_DATA_LEN_MAX);
const _: () = assert!(SEALED_CHUNK_LEN + 4_096 < MESSAGE_LEN_MAX);
const _: () = assert!(MESSAGE_CELLS_MAX == 64 && CREDIT_START == 64);
const _: () = assert!(CREDIT_START <= CREDIT_MAX && CREDIT_STEP < CREDIT_START);
const _: () = assert!(HOPS_CLIENT_MIN <= HOPS_MAX);
// Enough statements for an attestation, and for all copies.
const _: () = assert!(LOOK_SIGNERS * 100 >= SIGNERS * SIGNERS_PERCENT_MIN && CHUNK_HOLDERS <= LOOK_SIGNERS);
const _: () = assert!(HOLDERS < REPAIR_REACH && REPAIR_REACH <= BUCKET_SIZE && REPAIR_REACH < REPAIR_WATCHED_MAX);
const _: () = assert!(
    LINK_SILENCE_MAX.as_secs() + GONE_AFTER.as_secs() + 2 * WATCH_REDIAL.as_secs() + 6 * REPAIR_STEP.as_secs() < 300
);
const _: () = assert!(SIGNERS_LEFT_MIN <= SIGNERS && HOLDERS <= SIGNERS && SIGNERS <= BUCKET_SIZE);
const _: () = assert!(ANSWER_DESCRIPTORS_MAX * 100 < SIGNERS * SIGNERS_PERCENT_MIN);
const _: () = assert!(CHUNK_HOLDERS < HOLDERS && CHUNK_LOCATIONS == 1);
// Whoever is given a further copy is asked for it by every lookup, and looks after the place anyway.
const _: () = assert!(CHUNK_HOLDERS < CHUNK_HOLDERS_HOT && CHUNK_HOLDERS_HOT <= CHUNK_HOLDERS + REPAIR_REACH - HOLDERS);
const _: () = assert!(FETCH_PATIENCE.as_millis() < ASK_TIMEOUT.as_millis());
// Further copies take a small part of what repair may.
const _: () = assert!(16 * HOT_BYTES_PER_S <= REPAIR_BYTES_PER_S && 4 * HOT_BYTES_BURST <= REPAIR_BYTES_BURST);
const _: () = assert!(RECEIPT_NEWCOMERS_MAX == HOLDERS / 2 && RECEIPT_SIGNERS_REACH <= NEIGHBOURS_KNOWN);
const _: () = assert!(SETTLED_WAIT.as_secs() + JOIN_TIMEOUT.as_secs() < OPERATION_TIMEOUT.as_secs());
const _: () =
    assert!(ASK_TIMEOUT.as_secs() < JOIN_TIMEOUT.as_secs() && JOIN_TIMEOUT.as_secs() < JOIN_TIME_MAX.as_secs());
const _: () = assert!(SETTLED_QUIET.as_secs() < SETTLED_WAIT.as_secs() && SETTLED_PERCENT_MIN <= 100);
const _: () = assert!(ABSENT_WINDOW.as_secs().is_multiple_of(ABSENT_STEP.as_secs()));
const _: () = assert!(2 * GUARD_CIRCUITS_JUDGED_MIN <= GUARD_CIRCUITS_REMEMBERED_MAX);
const _: () = assert!(GUARD_FAILURES_IN_ROW_MAX < OPERATION_CIRCUITS_MAX);
// All circuits of two links may be between them, and all end at once.
const _: () = assert!(CIRCUITS_PER_LINK_MAX + NOT_REACHED_AT_ONCE_MAX < LINK_QUEUE_CELLS_MAX);
const _: () = assert!(STORED_MEMBERS_DOUBT_MAX.as_secs() + JOIN_TIMEOUT.as_secs() < OPERATION_TIMEOUT.as_secs());
const _: () = assert!(STORED_MEMBERS_LIFE_MAX_S + DESCRIPTOR_RENEW_S < DESCRIPTOR_LIFE_S);
const _: () = assert!(2 * DESCRIPTOR_RENEW_S < MEMBER_LIFE_S && MEMBER_LIFE_S < DESCRIPTOR_LIFE_S);
const _: () = assert!(MEMBERS_ASKS_BURST == 512 && 512 * MEMBERS_PAGE_MAX > MEMBERS_MAX);
const _: () = assert!(STORE_BYTES_MIN == 65_568 && SEALED_CHUNK_LEN == 65_568);
const _: () = assert!(SEALED_CHUNK_LEN / RECORD_LEN < STORE_EVICTED_BATCH_MAX);
const _: () = assert!(2 * GATEWAY_ALIVE_EVERY.as_secs() < GATEWAY_SILENCE_MAX.as_secs());
const _: () = assert!(SIGNERS < LOOKUP_ASKS_MAX && LOOKUP_ASKS_MAX < LOOKUP_CONTACTS_MAX);
// Two rounds of questions to look up, two to store: a holder that is silent, and the one asked in its place.
const _: () = assert!(
    EXIT_STORING_TIME.as_secs() >= 2 * ASK_TIMEOUT.as_secs()
        && EXIT_TIMEOUT.as_secs() >= EXIT_STORING_TIME.as_secs() + 2 * ASK_TIMEOUT.as_secs()
);
const _: () = {
    // A step is a number of zero bits.
    let [none, one, two, three] = EFFORT_TRIALS;
    assert!(none == 0 && one.is_power_of_two() && two.is_power_of_two() && three.is_power_of_two());
    assert!(1 < one && one < two && two < three && EFFORT_MAX == 3);
    let [none, one, two, three] = EFFORT_FULL_PERMILLE;
    assert!(none == 0 && one < two && two < three && three < 1_000);
};
const _: () = assert!(STORE_PLENTIFUL_PERMILLE + EFFORT_FULL_LESS_PERMILLE < EFFORT_FULL_PERMILLE[1]);
const _: () = assert!(PAYMENT_CHECKS_PER_RELAY_PER_S < PAYMENT_CHECKS_PER_S);
const _: () = assert!(STORE_HOUR_BYTES_MIN > STORE_BYTES_MIN && CLOCK_SKEW_S < PAYMENT_STEP_S);
