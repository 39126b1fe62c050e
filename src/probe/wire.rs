//! A socket under the probe: bytes out in any pieces, whole frames in by a deadline. It must not know what they mean.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::Heard;
use crate::limits::{DIAL_TIMEOUT, FRAME_LEN, LINK_WRITE_STALL_MAX};
use crate::link::Frame;
use crate::time::Duration;

/// A connection to the target, or from it.
pub struct Wire {
    stream: TcpStream,
    /// Of the next frame, as far as it has come.
    frame: Box<Frame>,
    filled: usize,
}

/// Why bytes were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// The peer has closed.
    #[error("the peer has closed")]
    Closed,
    /// The peer takes nothing.
    #[error("the peer takes nothing")]
    Stalled,
}

impl Wire {
    /// Connects, from this address if it matters: each prefix counts for itself at the target.
    ///
    /// # Errors
    /// Those of the socket; `TimedOut` after [`DIAL_TIMEOUT`].
    pub async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(ip) = from {
            socket.bind(SocketAddr::new(ip, 0))?;
        }
        let connected = timeout(DIAL_TIMEOUT, socket.connect(to)).await;
        let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, frame: Box::new([0; FRAME_LEN]), filled: 0 })
    }

    /// A connection that was accepted.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn accepted(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, frame: Box::new([0; FRAME_LEN]), filled: 0 })
    }

    /// Where it was dialled from.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Writes any bytes, all of them or an error.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), NotWritten> {
        match timeout(LINK_WRITE_STALL_MAX, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(NotWritten::Closed),
            Err(_) => Err(NotWritten::Stalled),
        }
    }

    /// The same in pieces of so many bytes, with a pause after each.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn write_slowly(&mut self, bytes: &[u8], piece: usize, pause: Duration) -> Result<(), NotWritten> {
        let mut beat = tokio::time::interval(pause.max(Duration::from_millis(1)));
        for piece in bytes.chunks(piece.max(1)) {
            beat.tick().await;
            self.write(piece).await?;
        }
        Ok(())
    }

    /// Says that nothing more will be written; what the peer says still comes. An error says that the peer has closed before.
    pub async fn half_close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next whole frame, if it comes in time. What has come of one is kept for the next call.
    pub async fn frame(&mut self, within: Duration) -> Heard<Frame> {
        self.frame_until(Instant::now() + within).await
    }

    /// The same by a deadline.
    pub async fn frame_until(&mut self, deadline: Instant) -> Heard<Frame> {
        loop {
            let Some(room) = self.frame.get_mut(self.filled..).filter(|room| !room.is_empty()) else {
                self.filled = 0;
                return Heard::Came(*self.frame);
            };
            match timeout_at(deadline, self.stream.read(room)).await {
                Err(_) => return Heard::Silent,
                Ok(Ok(0)) => return Heard::Closed { partial: self.filled },
                // A reset takes with it what was on its way: a piece of a frame says nothing then.
                Ok(Err(_)) => return Heard::Closed { partial: 0 },
                Ok(Ok(count)) => self.filled += count,
            }
        }
    }

    /// Bytes of a frame that have come since the last whole one.
    #[must_use]
    pub fn partial(&self) -> usize {
        self.filled
    }
}
