//! What host and trainer say to each other: docs/format.md has it in full.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backend::{BatchSpec, Report};

/// The version of all this.
pub(super) const PROTOCOL: u32 = 1;

/// A message of the host's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Message<A> {
    #[serde(flatten)]
    pub ask: A,
    /// Batches that no message will name any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<u64>,
}

/// What the trainer is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Ask<'a> {
    /// Build the model.
    Start {
        protocol: u32,
        spec: Cow<'a, BatchSpec>,
        options: Value,
    },
    /// Keep the tensors beside it. The only one without an answer.
    Batch {
        number: u64,
        segments: Vec<Vec<String>>,
    },
    Step {
        batches: Vec<u64>,
    },
    Evaluate {
        batch: u64,
    },
    /// The loss of logits, for tests.
    Score {
        batch: u64,
    },
    Save,
    /// Take the state in the tensor beside it.
    Load,
}

impl Ask<'_> {
    /// As the message names it.
    pub fn name(&self) -> &'static str {
        match self {
            Ask::Start { .. } => "start",
            Ask::Batch { .. } => "batch",
            Ask::Step { .. } => "step",
            Ask::Evaluate { .. } => "evaluate",
            Ask::Score { .. } => "score",
            Ask::Save => "save",
            Ask::Load => "load",
        }
    }

    /// For errors: cannot ..
    pub fn doing(&self) -> &'static str {
        match self {
            Ask::Start { .. } => "start the trainer",
            Ask::Batch { .. } => "give the trainer a batch",
            Ask::Step { .. } => "have the trainer take a step",
            Ask::Evaluate { .. } | Ask::Score { .. } => "have the trainer evaluate a batch",
            Ask::Save => "have the trainer save its state",
            Ask::Load => "have the trainer load a state",
        }
    }
}

/// A line of the trainer's: one of its keys is there.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Answer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u32>,
    /// Whatever the trainer wants to be kept with a run.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub about: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Length of the state that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<bool>,
}
