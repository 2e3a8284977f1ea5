//! Which model is trained, and behind which backend.

use std::time::Duration;

use clap::ValueEnum;
use roundelay::Error;
#[cfg(feature = "burn")]
use roundelay::backend::burn;
use roundelay::backend::{BatchSpec, Generate, Reference, ReferenceOptions, TrainBackend};
use roundelay::io::{TrainerCommand, spawn_trainer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};

#[derive(clap::Args)]
pub struct ModelArgs {
    /// What trains
    #[arg(long, value_enum, value_name = "B", default_value_t = Backend::default())]
    backend: Backend,
    /// A program of yours trains instead, behind a pipe: docs/format.md says what is spoken there
    #[arg(long, value_name = "COMMAND", conflicts_with = "backend")]
    trainer: Option<String>,
    /// An option of the model or its training, as in learning_rate=0.001; as often as you like
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, Value)>,
    /// Seconds that the trainer may do nothing for when it is waited for
    #[arg(long, value_name = "S", default_value_t = 600, requires = "trainer")]
    deadline: u64,
    /// Where burn trains: cpu, cuda:N, or auto, the first GPU if there is one [default: auto]
    #[cfg(feature = "burn")]
    #[arg(long, value_name = "D", value_parser = device, conflicts_with = "trainer")]
    device: Option<burn::Device>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq)]
// What there is to choose from depends on the features.
#[cfg_attr(not(feature = "burn"), derive(Default))]
enum Backend {
    /// A transformer of the Moshi kind, on the processor or a GPU
    #[cfg(feature = "burn")]
    Burn,
    /// A toy to try a run with: linear, on one thread
    #[cfg_attr(not(feature = "burn"), default)]
    Reference,
}

#[cfg(feature = "burn")]
#[allow(clippy::derivable_impls)] // Derived, it could not depend on the feature.
impl Default for Backend {
    fn default() -> Self {
        Backend::Burn
    }
}

/// A model as a run's plan has it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "backend", rename_all = "snake_case", deny_unknown_fields)]
pub enum Model {
    #[cfg(feature = "burn")]
    Burn {
        options: burn::Options,
        device: burn::Device,
    },
    Reference {
        options: ReferenceOptions,
    },
    Process {
        trainer: String,
        options: Map<String, Value>,
        /// No part of the plan: it decides nothing of what comes out.
        #[serde(skip)]
        deadline: Duration,
    },
}

/// What is done with a backend, whichever it is.
pub trait With {
    fn with<M: TrainBackend>(self, model: M) -> Outcome
    where
        M::Batch: 'static;
}

/// What is done with a model that can go on by itself.
pub trait WithVoice {
    fn with<M: TrainBackend + Generate>(self, model: M) -> Outcome;
}

impl ModelArgs {
    /// The model that is asked for; its draws are the run's unless it has a seed of its own.
    pub fn model(&self, seed: u64) -> Result<Model, Failure> {
        let mut options = Map::from_iter([("seed".to_owned(), Value::from(seed))]);
        options.extend(self.settings.iter().cloned());
        #[cfg(feature = "burn")]
        if self.device.is_some() && self.backend == Backend::Reference {
            return Err(Failure::Usage("--device is for burn".into()));
        }
        if let Some(trainer) = &self.trainer {
            let deadline = Duration::from_secs(self.deadline);
            return Ok(Model::Process { trainer: trainer.clone(), options, deadline });
        }
        Ok(match self.backend {
            #[cfg(feature = "burn")]
            Backend::Burn => {
                Model::Burn { options: options_of(options)?, device: found(self.device.unwrap_or_default())? }
            }
            Backend::Reference => Model::Reference { options: options_of(options)? },
        })
    }
}

impl Model {
    /// The model of a run's plan.
    pub fn of_plan(plan: &Value) -> Result<Self, Error> {
        Deserialize::deserialize(&plan["model"]).map_err(|e| Error::malformed("the run's model, to this program,", e))
    }

    /// Builds it and has it trained.
    pub fn on(&self, spec: &BatchSpec, then: impl With) -> Outcome {
        match self {
            #[cfg(feature = "burn")]
            Model::Burn { options, device } => match device.find()? {
                burn::Found::Cpu(device) => then.with(burn::BurnBackend::<burn::Cpu>::new(spec, options, &device)?),
                #[cfg(feature = "cuda")]
                burn::Found::Gpu(device) => then.with(burn::BurnBackend::<burn::Gpu>::new(spec, options, &device)?),
            },
            Model::Reference { options } => then.with(Reference::new(spec, options.clone())?),
            Model::Process { trainer, options, deadline } => {
                let command = TrainerCommand { deadline: *deadline, ..TrainerCommand::parse(trainer)? };
                then.with(spawn_trainer(&command, spec, &options.clone().into())?)
            }
        }
    }

    /// Builds it and has it speak.
    pub fn speaking(&self, spec: &BatchSpec, then: impl WithVoice) -> Outcome {
        match self {
            #[cfg(feature = "burn")]
            Model::Burn { options, device } => match device.find()? {
                burn::Found::Cpu(device) => then.with(burn::BurnBackend::<burn::Cpu>::new(spec, options, &device)?),
                #[cfg(feature = "cuda")]
                burn::Found::Gpu(device) => then.with(burn::BurnBackend::<burn::Gpu>::new(spec, options, &device)?),
            },
            Model::Reference { options } => then.with(Reference::new(spec, options.clone())?),
            Model::Process { .. } => {
                Err(Error::unsupported("generate with a trainer behind a pipe", "burn and reference speak").into())
            }
        }
    }
}

/// `KEY=VALUE`, the value as JSON if it is some.
fn setting(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

fn options_of<T: DeserializeOwned>(options: Map<String, Value>) -> Result<T, Failure> {
    // Every option has a default: one that is wrong is so by itself.
    for (key, value) in &options {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        serde_json::from_value::<T>(alone.into()).map_err(|e| Failure::Usage(format!("--set {key}={value}: {e}")))?;
    }
    serde_json::from_value(options.into()).map_err(|e| Failure::Usage(format!("--set: {e}")))
}

#[cfg(feature = "burn")]
fn device(text: &str) -> Result<burn::Device, String> {
    let number = |text: &str| text.parse().map(burn::Device::Cuda).map_err(|e| format!("cuda:{text}: {e}"));
    match text.split_once(':') {
        None if text == "auto" => Ok(burn::Device::Auto),
        None if text == "cpu" => Ok(burn::Device::Cpu),
        None if text == "cuda" => Ok(burn::Device::Cuda(0)),
        Some(("cuda", at)) => number(at),
        _ => Err("expected auto, cpu or cuda:N".into()),
    }
}

/// The device that a run keeps to.
#[cfg(feature = "burn")]
fn found(device: burn::Device) -> Result<burn::Device, Error> {
    Ok(match (device, device.find()?) {
        (burn::Device::Auto, burn::Found::Cpu(_)) => burn::Device::Cpu,
        #[cfg(feature = "cuda")]
        (burn::Device::Auto, burn::Found::Gpu(_)) => burn::Device::Cuda(0),
        (asked, _) => asked,
    })
}
