//! Checks of spec/cells.md.

use super::Judged;
use super::bench::{Bench, cell, destroyed, ends, goes_on, plain, send, send_plain, told, wrong};
use crate::probe::{Heard, PATIENCE, circuit};
use crate::wire::cell::{Cell, Command};

/// Number of the circuit or question that a check is about, and of what it asks besides.
const OURS: u32 = 5;
const OTHER: u32 = 6;

pub(super) async fn meaningless(bench: &mut Bench) -> Judged {
    // Circuit, command, suite, hint, last byte of the header.
    let rows: [(&str, [u8; 8]); 9] = [
        ("command 0", [0x80, 0, 0, 7, 0, 0, 0, 0]),
        ("command 11", [0x80, 0, 0, 7, 11, 0, 0, 0]),
        ("command 255", [0x80, 0, 0, 7, 255, 0, 0, 0]),
        ("circuit 0 of a Destroy", [0, 0, 0, 0, 5, 0, 0, 0]),
        ("circuit 0 of an Ask", [0, 0, 0, 0, 9, 0, 0, 0]),
        ("a circuit of a Padding", [0x80, 0, 0, 7, 8, 0, 0, 0]),
        ("a suite outside Build", [0x80, 0, 0, 7, 5, 1, 0, 0]),
        ("a hint outside Build", [0x80, 0, 0, 7, 5, 0, 1, 0]),
        ("a last byte of the header", [0x80, 0, 0, 7, 5, 0, 0, 1]),
    ];
    for (what, header) in rows {
        let mut session = bench.client().await?;
        let mut bytes = [0; crate::limits::CELL_LEN];
        bytes.iter_mut().zip(header).for_each(|(to, from)| *to = from);
        send_plain(&mut session, &bytes).await;
        ends(&mut session, what).await?;
    }
    Ok(())
}

pub(super) async fn empty_credit(bench: &mut Bench) -> Judged {
    for (what, body) in [("a Credit of 0", &[0, 0, 0, 0, 0][..]), ("a Credit with a byte behind it", &[0, 0, 0, 1, 1])]
    {
        let mut session = bench.client().await?;
        let _circuit = bench.storing(&mut session, OURS).await?;
        send(&mut session, &cell(OURS, Command::Credit, body)).await;
        destroyed(&mut session, OURS, what).await?;
        goes_on(&mut session, OTHER, what).await?;
    }
    Ok(())
}

pub(super) async fn dirty_destroy(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let _circuit = bench.storing(&mut session, OURS).await?;
    send(&mut session, &cell(OURS, Command::Destroy, &[0xff; 64])).await;
    // Only what is not in use can be built under.
    let request = bench.find();
    let built = bench.packet(&request)?;
    match session.build(OURS, built, PATIENCE).await {
        Heard::Came(Some(_)) => Ok(()),
        Heard::Came(None) => wrong("a Destroy with a body of ones", "the circuit's number is still in use"),
        other => wrong("a Destroy with a body of ones", &told(&other)),
    }
}

pub(super) async fn destroy_answered(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let _circuit = bench.storing(&mut session, OURS).await?;
    send(&mut session, &cell(OURS, Command::Destroy, &[])).await;
    goes_on(&mut session, OTHER, "after a Destroy").await
}

pub(super) async fn padding(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    for body in [&[][..], &[0xff; 2_040]] {
        let mut padding = Cell::of_link(Command::Padding);
        padding.body_mut().iter_mut().zip(body).for_each(|(to, from)| *to = *from);
        send(&mut session, &padding).await;
    }
    goes_on(&mut session, OTHER, "after two Paddings").await
}

pub(super) async fn of_nothing(bench: &mut Bench) -> Judged {
    let mut session = bench.client().await?;
    let commands =
        [Command::Reply0, Command::Forward, Command::Backward, Command::Destroy, Command::Credit, Command::Answer];
    for (number, command) in (100..).zip(commands) {
        send(&mut session, &cell(number, command, &[0, 0, 0, 1])).await;
        goes_on(&mut session, number + 100, &format!("a {command:?} of a number that is not open")).await?;
    }
    // Nor where the number is one that the target would open.
    let theirs = crate::wire::cell::CircuitId(circuit(1).0 & !(1 << 31));
    let mut bytes = plain(&super::bench::cell_under(theirs, Command::Destroy, &[]));
    bytes.iter_mut().skip(8).for_each(|byte| *byte = 7);
    send_plain(&mut session, &bytes).await;
    goes_on(&mut session, OTHER, "a Destroy of a number that is not open").await
}
