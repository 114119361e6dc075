//! Decodes one 64-bit instruction, as far as its completion needs: prefixes, opcode, ModRM operand.
//!
//! Source: AMD64 Architecture Programmer's Manual, volume 3, chapter 1 ("Instruction Encoding").

use kvm_bindings::{kvm_regs, kvm_sregs};

/// What the ModRM byte's r/m field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// A general-purpose register, 0 to 15.
    Register(u8),
    /// Memory at this linear address.
    Memory(u64),
}

/// A decoded instruction.
#[derive(Debug)]
pub(super) struct Instruction {
    /// The opcode; two-byte ones start with 0x0f.
    pub(super) opcode: u16,
    /// Bytes in all.
    pub(super) length: u64,
    /// Prefix 0xf3.
    pub(super) repeat: bool,
    /// REX.W.
    pub(super) wide: bool,
    /// The ModRM byte, where the opcode has one.
    pub(super) modrm: Option<u8>,
    /// The r/m operand.
    pub(super) operand: Option<Operand>,
    /// RSP or RBP addresses the operand, so that it is in the stack's segment.
    pub(super) stack: bool,
    short: bool,
    rex: u8,
}

impl Instruction {
    /// Decodes the bytes at RIP; `None` for a cut or unknown form.
    pub(super) fn decode(bytes: &[u8], regs: &kvm_regs, sregs: &kvm_sregs) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let mut instruction = Instruction {
            opcode: 0,
            length: 0,
            repeat: false,
            wide: false,
            modrm: None,
            operand: None,
            stack: false,
            short: false,
            rex: 0,
        };
        let mut segment = None;
        let mut opcode = reader.byte()?;
        loop {
            match opcode {
                0xf3 => instruction.repeat = true,
                0x66 => instruction.short = true,
                0x64 => segment = Some(sregs.fs.base),
                0x65 => segment = Some(sregs.gs.base),
                // Segment overrides that 64-bit mode ignores, REPNE, LOCK.
                0x2e | 0x36 | 0x3e | 0x26 | 0xf2 | 0xf0 => {}
                0x40..=0x4f => instruction.rex = opcode,
                _ => break,
            }
            opcode = reader.byte()?;
        }
        instruction.wide = instruction.rex & 8 != 0;
        instruction.opcode = u16::from(opcode);
        if opcode == 0x0f {
            instruction.opcode = 0x0f00 | u16::from(reader.byte()?);
            let modrm = reader.byte()?;
            instruction.modrm = Some(modrm);
            let base = segment.unwrap_or(0);
            instruction.stack = segment.is_none() && stack(modrm, &reader, instruction.rex);
            instruction.operand = Some(instruction.operand(modrm, &mut reader, regs, base)?);
        }
        instruction.length = reader.at as u64;
        if let Some(Operand::Memory(address)) = &mut instruction.operand
            && instruction.modrm.is_some_and(|modrm| modrm & 0xc7 == 5)
        {
            // RIP-relative: from the end of the instruction; none of those known here has an immediate.
            *address = address
                .wrapping_add(regs.rip)
                .wrapping_add(instruction.length);
        }
        Some(instruction)
    }

    fn operand(
        &self,
        modrm: u8,
        reader: &mut Reader<'_>,
        regs: &kvm_regs,
        base: u64,
    ) -> Option<Operand> {
        let extend = |bit: u8| if self.rex & bit != 0 { 8 } else { 0 };
        let (mode, rm) = (modrm >> 6, modrm & 7);
        if mode == 3 {
            return Some(Operand::Register(rm | extend(1)));
        }
        let mut address = base;
        let mut displacement = mode;
        if rm == 4 {
            let sib = reader.byte()?;
            let (scale, index, sib_base) = (sib >> 6, sib >> 3 & 7 | extend(2), sib & 7);
            if index != 4 {
                address = address.wrapping_add(register(regs, index) << scale);
            }
            if sib_base == 5 && mode == 0 {
                displacement = 2;
            } else {
                address = address.wrapping_add(register(regs, sib_base | extend(1)));
            }
        } else if rm == 5 && mode == 0 {
            displacement = 2;
        } else {
            address = address.wrapping_add(register(regs, rm | extend(1)));
        }
        let offset = match displacement {
            1 => i64::from(reader.byte()?.cast_signed()),
            2 => i64::from(i32::from_le_bytes([
                reader.byte()?,
                reader.byte()?,
                reader.byte()?,
                reader.byte()?,
            ])),
            _ => 0,
        };
        Some(Operand::Memory(address.wrapping_add_signed(offset)))
    }

    /// The operand size in bytes.
    pub(super) fn size(&self) -> usize {
        match (self.wide, self.short) {
            (true, _) => 8,
            (false, true) => 2,
            (false, false) => 4,
        }
    }

    /// ModRM's reg field as an extension of the opcode.
    pub(super) fn extension(&self) -> u8 {
        self.modrm.unwrap_or(0) >> 3 & 7
    }

    /// Writes the register that ModRM's reg field names, by the rules of the operand size.
    pub(super) fn set_target(&self, regs: &mut kvm_regs, value: u64) {
        let number = self.extension() | if self.rex & 4 != 0 { 8 } else { 0 };
        let old = register(regs, number);
        *register_mut(regs, number) = match self.size() {
            2 => old & !0xffff | value & 0xffff,
            4 => value & 0xffff_ffff,
            _ => value,
        };
    }
}

/// Whether the base register of a ModRM byte, with the SIB byte that follows it, is RSP or RBP.
fn stack(modrm: u8, reader: &Reader<'_>, rex: u8) -> bool {
    let (mode, rm) = (modrm >> 6, modrm & 7);
    let base = match rm {
        4 => reader.bytes.get(reader.at).map_or(0, |sib| sib & 7),
        rm => rm,
    };
    // Without a displacement, 5 is no register but RIP, or none at all.
    rex & 1 == 0 && mode != 3 && (base == 4 || base == 5 && mode != 0)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }
}

/// A general-purpose register by its number in an encoding.
pub(super) fn register(regs: &kvm_regs, number: u8) -> u64 {
    *register_mut(&mut regs.clone(), number)
}

fn register_mut(regs: &mut kvm_regs, number: u8) -> &mut u64 {
    match number & 15 {
        0 => &mut regs.rax,
        1 => &mut regs.rcx,
        2 => &mut regs.rdx,
        3 => &mut regs.rbx,
        4 => &mut regs.rsp,
        5 => &mut regs.rbp,
        6 => &mut regs.rsi,
        7 => &mut regs.rdi,
        8 => &mut regs.r8,
        9 => &mut regs.r9,
        10 => &mut regs.r10,
        11 => &mut regs.r11,
        12 => &mut regs.r12,
        13 => &mut regs.r13,
        14 => &mut regs.r14,
        _ => &mut regs.r15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Option<Instruction> {
        let regs = kvm_regs {
            rax: 0x1000,
            rsp: 0x2000,
            r9: 0x10,
            rip: 0x40_0000,
            ..kvm_regs::default()
        };
        let mut sregs = kvm_sregs::default();
        sregs.gs.base = 0x10_0000;
        Instruction::decode(bytes, &regs, &sregs)
    }

    #[test]
    fn memory_operands_are_computed() {
        for (bytes, address) in [
            // lock cmpxchg16b (%rax)
            (&[0xf0, 0x48, 0x0f, 0xc7, 0x08][..], 0x1000),
            // cmpxchg16b 0x20(%rsp)
            (&[0x48, 0x0f, 0xc7, 0x4c, 0x24, 0x20], 0x2020),
            // cmpxchg16b %gs:-8(%rax,%r9,4)
            (&[0x65, 0x4a, 0x0f, 0xc7, 0x4c, 0x88, 0xf8], 0x10_1038),
            // cmpxchg16b 0x10(%rip)
            (&[0x48, 0x0f, 0xc7, 0x0d, 0x10, 0, 0, 0], 0x40_0018),
            // cmpxchg16b 0x1234 (absolute)
            (&[0x48, 0x0f, 0xc7, 0x0c, 0x25, 0x34, 0x12, 0, 0], 0x1234),
        ] {
            let instruction = decode(bytes).unwrap();
            assert_eq!(instruction.opcode, 0x0fc7);
            assert_eq!(instruction.extension(), 1);
            assert_eq!(instruction.length, bytes.len() as u64);
            assert_eq!(
                instruction.operand,
                Some(Operand::Memory(address)),
                "{bytes:x?}"
            );
        }
    }

    #[test]
    fn rsp_and_rbp_are_the_stacks() {
        for (bytes, stack) in [
            // cmpxchg16b 0x20(%rsp), (%rax), %gs:(%rsp), (%r12), 0(%rbp), 0x10(%rip), 0x1234 (absolute)
            (&[0x48, 0x0f, 0xc7, 0x4c, 0x24, 0x20][..], true),
            (&[0x48, 0x0f, 0xc7, 0x08], false),
            (&[0x65, 0x48, 0x0f, 0xc7, 0x0c, 0x24], false),
            (&[0x49, 0x0f, 0xc7, 0x0c, 0x24], false),
            (&[0x48, 0x0f, 0xc7, 0x4d, 0], true),
            (&[0x48, 0x0f, 0xc7, 0x0d, 0x10, 0, 0, 0], false),
            (&[0x48, 0x0f, 0xc7, 0x0c, 0x25, 0x34, 0x12, 0, 0], false),
        ] {
            assert_eq!(decode(bytes).unwrap().stack, stack, "{bytes:x?}");
        }
    }

    #[test]
    fn registers_follow_the_operand_size() {
        // popcnt %eax,%r10d and popcnt %ax,%ax
        let wide = decode(&[0xf3, 0x44, 0x0f, 0xb8, 0xd0]).unwrap();
        assert_eq!((wide.size(), wide.operand), (4, Some(Operand::Register(0))));
        let mut regs = kvm_regs {
            rax: u64::MAX,
            r10: u64::MAX,
            ..kvm_regs::default()
        };
        wide.set_target(&mut regs, 5);
        assert_eq!(regs.r10, 5);
        decode(&[0x66, 0xf3, 0x0f, 0xb8, 0xc0])
            .unwrap()
            .set_target(&mut regs, 5);
        assert_eq!(regs.rax, 0xffff_ffff_ffff_0005);
    }

    #[test]
    fn cut_instructions_are_none() {
        let whole = [0x65, 0x4a, 0x0f, 0xc7, 0x4c, 0x88, 0xf8];
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_none(), "{end}");
        }
        assert!(decode(&[0x66; 15]).is_none());
    }
}
