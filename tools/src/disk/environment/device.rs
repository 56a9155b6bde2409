//! The disks below a file system, in a line.

use measure::disks::Stack;

use super::{Fact, Level};

pub(super) fn fact(stack: &Stack) -> Fact {
    const WHY: &str = "What is measured is this stack as a whole; each layer adds its own wait to a sync.";
    if stack.disks.is_empty() {
        let value = "none that the kernel names (a network, a layer in user space, memory)";
        return Fact::new("device", value, Level::Note, WHY);
    }
    let is_loop = stack.disks.iter().any(|disk| disk.path.join("loop").exists());
    let level = if is_loop { Level::Note } else { Level::Fine };
    Fact::new("device", stack.text.clone(), level, WHY)
}
