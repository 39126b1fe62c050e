//! What every link task of one node shares: process, network, deadlines, the way to the owner. Shapes only.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::config::ShellLimits;
use super::runtime::Runtime;
use super::tap::Tap;
use crate::node::io::Input;
use crate::wire::network::Network;

/// What every link task of one node shares.
pub(super) struct LinkShell {
    pub(super) runtime: Arc<Runtime>,
    pub(super) network: Network,
    pub(super) bind_ip: Option<IpAddr>,
    pub(super) limits: ShellLimits,
    pub(super) tap: Option<Arc<dyn Tap>>,
    pub(super) inbox: mpsc::Sender<Input>,
}
