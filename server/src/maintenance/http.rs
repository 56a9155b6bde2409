//! `/health`, `/livez`, `/readyz` and `/version` as etcd answers them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use replication::ReadGate;

use super::VERSION;
use crate::grpc::Status;
use crate::http::{HttpAnswer, HttpOutcome, HttpRequest};
use crate::member::Shared;
use crate::metrics::Operations;

/// The checks of `/readyz`.
const READYZ: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

/// The checks of `/livez`.
const LIVEZ: &[Check] = &[Check::SerializableRead];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }
}

impl Shared {
    pub(crate) fn http(self: &Arc<Self>, request: &HttpRequest) -> HttpOutcome {
        let path = request.path.as_str();
        let answer: fn(&Arc<Self>, &HttpRequest) -> HttpOutcome = match path {
            "/health" => Self::http_health,
            "/version" => |member, _| member.http_version().into(),
            _ => match check_path(path) {
                Some(_) => Self::http_checks,
                None => return HttpAnswer::not_found().into(),
            },
        };
        if request.method != "GET" {
            return HttpAnswer::method_not_allowed().into();
        }
        answer(self, request)
    }

    fn http_version(&self) -> HttpAnswer {
        let cluster_version = self.members.get().cluster_version.clone();
        // The two have been decided together.
        let cluster = cluster_version.as_deref().unwrap_or("not_decided");
        let storage = cluster_version.as_deref().unwrap_or("unknown");
        let body = serde_json::json!({ "etcdserver": VERSION, "etcdcluster": cluster, "storage": storage });
        // serde_json sorts by name, etcd has another order.
        let text = format!(
            r#"{{"etcdserver":{},"etcdcluster":{},"storage":{}}}"#,
            body["etcdserver"], body["etcdcluster"], body["storage"]
        );
        HttpAnswer::json(text)
    }

    /// No alarm can be raised yet, so `exclude` has nothing to leave out.
    fn http_health(self: &Arc<Self>, request: &HttpRequest) -> HttpOutcome {
        let serializable = request.query_values("serializable").first().is_some_and(|value| value == "true");
        if serializable {
            return self.health(self.check_read()).into();
        }
        if self.status.leader() == 0 {
            return self.health(Err("RAFT NO LEADER".into())).into();
        }
        let member = Arc::clone(self);
        self.after_read_gate(move |gate| {
            let read = gate.map_err(|status| status.to_string()).and_then(|()| member.check_read());
            member.health(read.map_err(|reason| format!("RANGE ERROR:{reason}")))
        })
    }

    fn http_checks(self: &Arc<Self>, request: &HttpRequest) -> HttpOutcome {
        let Some(checks) = check_path(&request.path) else { return HttpAnswer::not_found().into() };
        let whole = !request.path[1..].contains('/');
        let excluded = if whole { request.query_values("exclude") } else { Vec::new() };
        let mut kept = checks.to_vec();
        kept.retain(|check| !excluded.iter().any(|name| name == check.name()));
        for name in excluded.iter().filter(|name| !name.is_empty()) {
            if !checks.iter().any(|check| check.name() == name) {
                tracing::warn!(name, "some health checks cannot be excluded");
            }
        }
        let verbose = request.query.split('&').any(|pair| pair.split('=').next() == Some("verbose"));
        let kind = if checks_livez(&request.path) { "livez" } else { "readyz" };
        let member = Arc::clone(self);
        if kept.contains(&Check::LinearizableRead) {
            self.after_read_gate(move |gate| member.run_checks(kind, &kept, gate, verbose))
        } else {
            member.run_checks(kind, &kept, Ok(()), verbose).into()
        }
    }

    fn note_check(&self, kind: &str, check: Check, healthy: bool) {
        let status = if healthy { "success" } else { "error" };
        let name = check.name();
        self.metrics.server_healthcheck.with_label_values(&[kind, name]).set(i64::from(healthy));
        self.metrics.server_healthchecks_total.with_label_values(&[kind, name, status]).inc();
    }

    fn run_checks(
        &self,
        kind: &str,
        checks: &[Check],
        gate: Result<(), Status>,
        verbose: bool,
    ) -> HttpAnswer {
        let mut lines = String::new();
        let mut healthy = true;
        for check in checks {
            let result = match check {
                // No alarm can be raised yet.
                Check::DataCorruption => Ok(()),
                Check::SerializableRead => self.check_read(),
                Check::LinearizableRead => {
                    gate.clone().map_err(|status| status.to_string()).and_then(|()| self.check_read())
                }
                Check::NonLearner if self.status.is_learner() => Err("not supported for learner".into()),
                Check::NonLearner => Ok(()),
            };
            match result {
                Ok(()) => {
                    self.note_check(kind, *check, true);
                    lines += &format!("[+]{} ok\n", check.name());
                }
                Err(reason) => {
                    healthy = false;
                    self.note_check(kind, *check, false);
                    lines += &format!("[-]{} failed: {reason}\n", check.name());
                }
            }
        }
        let (status, body) = match (healthy, verbose) {
            // Go ends an error's text with a newline of its own.
            (false, _) => (503, lines + "\n"),
            (true, true) => (200, lines + "ok\n"),
            (true, false) => (200, "ok\n".into()),
        };
        let mut answer = HttpAnswer::text(status, body);
        answer.headers.push(("X-Content-Type-Options", "nosniff".into()));
        answer
    }

    fn health(&self, result: Result<(), String>) -> HttpAnswer {
        match result {
            Ok(()) => {
                self.metrics.server_health_success.inc();
                HttpAnswer::text(200, r#"{"health":"true","reason":""}"#)
            }
            Err(reason) => {
                self.metrics.server_health_failures.inc();
                tracing::warn!(reason, "serving /health false");
                let reason = serde_json::Value::from(reason);
                let body = format!("{{\"health\":\"false\",\"reason\":{reason}}}\n");
                let mut answer = HttpAnswer::text(503, body);
                answer.headers.push(("X-Content-Type-Options", "nosniff".into()));
                answer
            }
        }
    }

    /// What etcd's probes do: read one key.
    fn check_read(&self) -> Result<(), String> {
        Operations { ranges: 1, ..Operations::default() }.report(&self.metrics);
        let view = self.reader.view();
        view.get(b"health", 0).map(|_| ()).map_err(|error| self.status_of(error.into()).to_string())
    }

    /// Runs `answer` once a linearizable read may run, or with the reason why it may not.
    fn after_read_gate(
        &self,
        answer: impl FnOnce(Result<(), Status>) -> HttpAnswer + 'static,
    ) -> HttpOutcome {
        match self.reads.read_index() {
            ReadGate::Now => answer(Ok(())).into(),
            ReadGate::Wait(waiter) => {
                let verdict = Verdict::default();
                let deliver = verdict.clone();
                waiter
                    .then(move |result| deliver.set(result.map(|_| ()).map_err(crate::member::read_refusal)));
                let limit = self.limits.request_timeout;
                HttpOutcome::Later(Box::pin(async move {
                    let gate = tokio::time::timeout(limit, verdict).await;
                    answer(gate.unwrap_or(Err(crate::grpc::TIMEOUT)))
                }))
            }
        }
    }
}

/// The checks behind a path: all of a kind, or one.
fn check_path(path: &str) -> Option<&'static [Check]> {
    let (kind, one) = match path.strip_prefix('/')?.split_once('/') {
        Some((kind, one)) => (kind, Some(one)),
        None => (&path[1..], None),
    };
    let checks = match kind {
        "livez" => LIVEZ,
        "readyz" => READYZ,
        _ => return None,
    };
    match one {
        None => Some(checks),
        Some(name) => {
            let at = checks.iter().position(|check| check.name() == name)?;
            Some(&checks[at..=at])
        }
    }
}

fn checks_livez(path: &str) -> bool {
    path.strip_prefix("/livez").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A result that another thread delivers.
#[derive(Clone, Default)]
struct Verdict(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    result: Option<Result<(), Status>>,
    waker: Option<Waker>,
}

impl Verdict {
    fn set(&self, result: Result<(), Status>) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.result = Some(result);
        let waker = slot.waker.take();
        drop(slot);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Future for Verdict {
    type Output = Result<(), Status>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
