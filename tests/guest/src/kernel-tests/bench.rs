//! The bench the tests work at: probes in roles of their own, started afresh for each test.

use alloc::{format, string::String, vec::Vec};

use abi::{Cause, DeathReport, Name, SpawnSpec};
use guest_tests::{Answer, Command, Fault};
use runtime::{Endpoint, manage, system, time};
use storage::{
    Error,
    buffer::{Sink, Source},
    transport::ask,
};

/// How long a probe may take to answer or to die.
const PATIENCE_NS: u64 = 5_000_000_000;
/// A probe's quota: 8 MiB.
pub const QUOTA_PAGES: u64 = 2048;

const HOG: usize = 3;
/// The role that a test stops for good.
pub const RETIRED: usize = 4;

/// A running probe.
#[derive(Clone, Copy)]
pub struct Probe {
    /// Its role.
    pub role: u64,
}

/// How a probe is started.
#[derive(Clone, Copy, Default)]
pub struct Setting<'a> {
    /// Whom it may call.
    pub peers: &'a [u64],
    /// The PCI function it drives.
    pub device: Option<u32>,
    /// Its quota; [`QUOTA_PAGES`] if zero.
    pub quota_pages: u64,
    /// Its [`abi::Rights`].
    pub rights: u64,
    /// The first I/O port that it may touch, and one past the last.
    pub ports: [u16; 2],
}

/// Starts probes and watches them die.
pub struct Bench {
    roles: Vec<u64>,
}

impl Bench {
    /// A bench with five roles: `a`, `b`, `c`, `hog`, which takes all memory, and `retired`, which is
    /// stopped for good.
    pub fn new() -> Self {
        let roles = ["a", "b", "c", "hog", "retired"]
            .map(|name| manage::declare(&Name::new(name).expect("short")).expect("room"));
        Self {
            roles: roles.into(),
        }
    }

    /// A fresh probe in a role, whatever was there before.
    pub async fn start(&mut self, index: usize, setting: Setting<'_>) -> Result<Probe, String> {
        let role = self.roles[index];
        if manage::kill(role, Cause::Killed).is_ok() {
            self.wait_death(role).await?;
        }
        self.start_dead(index, setting)
    }

    /// A probe in a role that nobody is in.
    pub fn start_dead(&mut self, index: usize, setting: Setting<'_>) -> Result<Probe, String> {
        let role = self.roles[index];
        let mut peers = [0; abi::PEERS_MAX];
        peers[..setting.peers.len()].copy_from_slice(setting.peers);
        let spec = SpawnSpec {
            program: Name::new("probe").expect("short"),
            rights: setting.rights,
            quota_pages: if setting.quota_pages == 0 {
                QUOTA_PAGES
            } else {
                setting.quota_pages
            },
            device: setting.device.map_or(u64::MAX, u64::from),
            ports: [setting.ports, [0; 2]],
            isa_interrupts: 0,
            peer_count: setting.peers.len() as u64,
            peers,
            arguments_len: 0,
            arguments: [0; abi::ARGUMENTS_BYTES_MAX],
        };
        manage::spawn_task(role, &spec)
            .map_err(|error| format!("cannot start a probe: {error}"))?;
        Ok(Probe { role })
    }

    /// A probe that takes all memory, tells about it, and ends.
    pub async fn with_hog(
        &mut self,
        setting: Setting<'_>,
        command: Command,
    ) -> Result<Answer, String> {
        let hog = self.start_dead(HOG, setting)?;
        let answer = hog.ask(command).await.map_err(|error| format!("{error}"))?;
        manage::kill(hog.role, Cause::Killed).map_err(|error| format!("{error}"))?;
        self.wait_death(hog.role).await?;
        let hog = self.start_dead(HOG, setting)?;
        hog.ask(Command::DeviceQuiesced)
            .await
            .map_err(|error| format!("{error}"))?;
        manage::kill(hog.role, Cause::Killed).map_err(|error| format!("{error}"))?;
        self.wait_death(hog.role).await?;
        Ok(answer)
    }

    /// Waits until a role has died.
    pub async fn wait_death(&mut self, role: u64) -> Result<Cause, String> {
        let died = time::with_deadline(PATIENCE_NS, async {
            while manage::next_death().await != role {}
        });
        died.await.ok_or("nobody died")?;
        let report = system::death_report(role).map_err(|error| format!("no report: {error}"))?;
        Ok(Cause::from_number(report.cause))
    }

    /// How the last instance in a role ended.
    pub fn last_report(&self, index: usize) -> Result<DeathReport, String> {
        system::death_report(self.roles[index]).map_err(|error| format!("no report: {error}"))
    }

    /// Has a probe misbehave and says how it ended.
    pub async fn misbehave(&mut self, probe: Probe, fault: Fault) -> Result<Cause, String> {
        match probe.ask(Command::Misbehave(fault)).await {
            Err(Error::PeerDied) => self.wait_death(probe.role).await,
            other => Err(format!("it lives, and says {other:?}")),
        }
    }
}

impl Probe {
    /// Has the probe do something; its answer.
    pub async fn ask(self, command: Command) -> Result<Answer, Error> {
        self.ask_with(command, Source::empty(), Sink::empty()).await
    }

    /// The same, lending memory.
    pub async fn ask_with(
        self,
        command: Command,
        send: Source<'_>,
        receive: Sink<'_>,
    ) -> Result<Answer, Error> {
        let endpoint = Endpoint::new(self.role);
        time::with_deadline(PATIENCE_NS, ask(&endpoint, &command, send, receive))
            .await
            .unwrap_or(Err(Error::Busy))
    }

    /// Tells the probe to do something that it does not answer, and waits until it has been told.
    pub async fn tell(self, command: Command) {
        let endpoint = Endpoint::new(self.role);
        runtime::spawn(async move {
            let _: Result<Answer, Error> =
                ask(&endpoint, &command, Source::empty(), Sink::empty()).await;
        });
        // Requests arrive in order: once this one is answered, the other was seen.
        let _ = self.ask(Command::Sum).await;
    }

    /// Whether the probe is alive and well.
    pub async fn is_well(self) -> bool {
        let data = [1, 2, 3, 4];
        let sum = self
            .ask_with(Command::Sum, Source::local(&data), Sink::empty())
            .await;
        sum == Ok(Answer {
            value: 10,
            kernel: 0,
        })
    }
}
