//! Where the model is trained.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A device as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The first GPU if there is one that can be used, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// NVIDIA's device of this number.
    Cuda(usize),
}

/// A device that is there.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// The processor, for [`BurnBackend<Cpu>`](super::BurnBackend).
    Cpu(burn::backend::flex::FlexDevice),
    /// A GPU, for `BurnBackend<Gpu>`.
    #[cfg(feature = "cuda")]
    Gpu(burn::backend::cuda::CudaDevice),
}

impl Device {
    /// Looks whether it is there.
    ///
    /// # Errors
    /// `Unsupported` if a GPU is asked for and there is none, with what is missing.
    ///
    /// # Examples
    /// ```
    /// use roundelay::backend::burn::{Device, Found};
    /// assert!(matches!(Device::Cpu.find()?, Found::Cpu(_)));
    /// assert!(Device::Cuda(99).find().is_err());
    /// # Ok::<(), roundelay::Error>(())
    /// ```
    pub fn find(self) -> Result<Found> {
        match self {
            Device::Cpu => Ok(Found::Cpu(Default::default())),
            Device::Auto => gpu(0).or_else(|_| Device::Cpu.find()),
            Device::Cuda(index) => {
                gpu(index).map_err(|missing| Error::unsupported(format!("device cuda:{index}"), missing))
            }
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn gpu(_: usize) -> std::result::Result<Found, String> {
    Err("this program was built without the feature `cuda`".into())
}

/// What is missing is found by asking, as burn panics where a library is not there.
#[cfg(feature = "cuda")]
fn gpu(index: usize) -> std::result::Result<Found, String> {
    if !libraries() {
        return Err("no libcuda (the driver) or no libnvrtc can be opened".into());
    }
    let devices = cudarc::driver::CudaContext::device_count().map_err(|e| format!("the driver answers {e:?}"))?;
    match usize::try_from(devices).is_ok_and(|devices| index < devices) {
        true => Ok(Found::Gpu(burn::backend::cuda::CudaDevice::new(index))),
        false => Err(format!("the driver has {devices} devices")),
    }
}

#[cfg(feature = "cuda")]
#[allow(unsafe_code)] // There is no other way to ask.
fn libraries() -> bool {
    // SAFETY: both try to open system libraries by name and say whether that went well; burn opens the same ones.
    unsafe { cudarc::driver::sys::is_culib_present() && cudarc::nvrtc::sys::is_culib_present() }
}
