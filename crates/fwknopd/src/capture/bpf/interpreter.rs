//! Runs a filter the way the kernel does, so that tests can ask what it would keep. Test code only.

use super::Instruction;

/// What the kernel would know besides the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// [`Ancillary::Protocol`](super::Ancillary::Protocol).
    pub(crate) protocol: u32,
    /// [`Ancillary::PacketType`](super::Ancillary::PacketType).
    pub(crate) packet_type: u32,
}

/// How many bytes the program keeps. A load beyond the packet drops it, as in the kernel.
pub(crate) fn run(program: &[Instruction], known: Known, packet: &[u8]) -> u32 {
    attempt(program, known, packet).unwrap_or(0)
}

fn attempt(program: &[Instruction], known: Known, packet: &[u8]) -> Option<u32> {
    let load = |code: u16, at: usize| {
        let size = match code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            _ => 1,
        };
        let bytes = packet.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte)))
    };
    let (mut a, mut x, mut memory, mut at) = (0u32, 0u32, [0u32; 16], 0);
    loop {
        let Instruction { code, jt, jf, k } = *program.get(at)?;
        at += 1;
        let operand = if code & 0x08 == 0 { k } else { x };
        match code {
            0x20 if k == 0xffff_f000 => a = known.protocol,
            0x20 if k == 0xffff_f004 => a = known.packet_type,
            0x20 | 0x28 | 0x30 => a = load(code, k as usize)?,
            0x40 | 0x48 | 0x50 => a = load(code, x as usize + k as usize)?,
            0x80 => a = u32::try_from(packet.len()).ok()?,
            0x00 => a = k,
            0x01 => x = k,
            0x60 => a = *memory.get(k as usize)?,
            0x61 => x = *memory.get(k as usize)?,
            0x02 => *memory.get_mut(k as usize)? = a,
            0x03 => *memory.get_mut(k as usize)? = x,
            0xb1 => x = (load(0x30, k as usize)? & 0x0f) * 4,
            0x04 | 0x0c => a = a.wrapping_add(operand),
            0x14 | 0x1c => a = a.wrapping_sub(operand),
            0x24 | 0x2c => a = a.wrapping_mul(operand),
            0x44 | 0x4c => a |= operand,
            0x54 | 0x5c => a &= operand,
            0x64 | 0x6c => a = a.checked_shl(operand)?,
            0x74 | 0x7c => a = a.checked_shr(operand)?,
            0x07 => x = a,
            0x87 => a = x,
            0x05 => at += k as usize,
            0x06 => return Some(k),
            0x16 => return Some(a),
            0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d => {
                let holds = match code & 0xf0 {
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    _ => a & operand != 0,
                };
                at += usize::from(if holds { jt } else { jf });
            }
            unknown => panic!("instruction {unknown:#x} is not in this interpreter"),
        }
    }
}
