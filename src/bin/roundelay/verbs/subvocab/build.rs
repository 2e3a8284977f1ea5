//! `subvocab build VECTORS -o STORE`: a store of word vectors

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use roundelay::io::{BuildOptions, Numbers, TensorRows, build_store};
use serde_json::json;

use super::ThreadArgs;
use crate::failure::{Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// Vectors, `[words, dimension]` in f32, f16, bf16 or i8: a tensor of a file .safetensors, which may be larger than
    /// memory
    #[arg(value_name = "VECTORS")]
    vectors: PathBuf,
    /// Name of the tensor, where the file has several
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// Store to write, .safetensors
    #[arg(short, long, value_name = "STORE")]
    output: PathBuf,
    /// How numbers are held
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = NumbersName::I8)]
    numbers: NumbersName,
    /// Search by cosine instead of inner product
    #[arg(long)]
    cosine: bool,
    /// Clusters; building takes longer the more there are [default: the square root of the number of words]
    #[arg(long, value_name = "N")]
    clusters: Option<usize>,
    /// Seed of the clusters
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    threads: ThreadArgs,
}

#[derive(ValueEnum, Clone, Copy)]
enum NumbersName {
    /// 4 bytes each, as they are
    F32,
    /// 2 bytes each
    F16,
    /// 1 byte each, and a scale for each dimension
    I8,
}

impl From<NumbersName> for Numbers {
    fn from(name: NumbersName) -> Self {
        match name {
            NumbersName::F32 => Numbers::F32,
            NumbersName::F16 => Numbers::F16,
            NumbersName::I8 => Numbers::I8,
        }
    }
}

impl Args {
    pub fn run(self) -> Outcome {
        if self.output.extension().is_none_or(|extension| extension != "safetensors") {
            let output = self.output.display();
            return Err(Failure::Usage(format!("a store is a file .safetensors, and {output} is none")));
        }
        let source = TensorRows::open(&self.vectors, self.tensor.as_deref())?;
        let options = BuildOptions {
            numbers: self.numbers.into(),
            cosine: self.cosine,
            clusters: self.clusters,
            seed: self.seed,
            threads: self.threads.count(),
            ..BuildOptions::default()
        };
        let built = build_store(&source, &self.output, &options)?;
        let [clustering, assigning, writing] =
            [built.clustering, built.assigning, built.writing].map(|part| part.as_secs_f64());
        let told = json!({
            "vectors": built.rows, "clusters": built.clusters, "largest_cluster": built.largest_cluster,
            "bytes": built.bytes,
            "seconds": { "clustering": clustering, "assigning": assigning, "writing": writing },
        });
        writeln!(std::io::stdout().lock(), "{told:#}")?;
        Ok(())
    }
}
