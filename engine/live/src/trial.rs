//! A new policy's trial on a thread of its own: what makes the engine panic or hang there does nothing else.

use std::fs::File;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::Arc;
use std::time::Duration;

use inspect::canary::{trial, Exercise};
use inspect::policy::Policy;
use rustix::time::{clock_gettime, ClockId};

use crate::guarded::message;
use crate::notice::unix_ns;

/// However busy the machine is, a trial of hundreds of guests ends within it.
const WAIT: Duration = Duration::from_secs(120);

/// The conversations that a new policy is tried with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canary(Arc<Vec<Exercise>>);

impl Canary {
    /// Reads every `NAME.pcap` of a directory. Errors name the file.
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        let mut paths: Vec<_> = std::fs::read_dir(directory)?
            .map(|entry| entry.map(|it| it.path()))
            .collect::<io::Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|it| it == "pcap"));
        paths.sort();
        let exercises = paths.iter().map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let broken = |why: String| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{}: {why}", path.display()),
                )
            };
            let file = File::open(path).map_err(|error| broken(error.to_string()))?;
            Exercise::read(&name, file).map_err(|error| broken(error.to_string()))
        });
        Ok(Self(Arc::new(exercises.collect::<io::Result<_>>()?)))
    }

    /// Tries the policy; says why it must not go live.
    pub(crate) fn try_out(&self, policy: &Arc<Policy>) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let (tell, told) = mpsc::channel();
        let (exercises, policy) = (self.0.clone(), policy.clone());
        let body = move || {
            let tried = AssertUnwindSafe(|| trial(&policy, &exercises, unix_ns(), &cpu_time));
            // Nobody listens any more once the time is over.
            let _ = tell.send(match catch_unwind(tried) {
                Ok(ended) => ended.map_err(|failed| failed.to_string()),
                Err(cause) => Err(format!(
                    "the engine failed, which is a bug: {}",
                    message(&*cause)
                )),
            });
        };
        let started = std::thread::Builder::new()
            .name("canary".into())
            .spawn(body);
        started.map_err(|error| format!("the trial could not begin: {error}"))?;
        told.recv_timeout(WAIT).unwrap_or_else(|why| {
            Err(match why {
                RecvTimeoutError::Timeout => {
                    format!("the trial did not end within {} s", WAIT.as_secs())
                }
                RecvTimeoutError::Disconnected => "the trial ended without a word".into(),
            })
        })
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
