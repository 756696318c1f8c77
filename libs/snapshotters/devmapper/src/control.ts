import { closeSync, constants, openSync } from 'node:fs'
import { errnoOf, ioctlAsync, LinuxError, splitDevice } from '@flotilla/linux'

const control = '/dev/mapper/control'

// linux/dm-ioctl.h: struct dm_ioctl with a name of at most 127 bytes in it, followed by what the request is about.
const header = { size: 312, dataSize: 12, dataStart: 16, targets: 20, flags: 28, device: 40, name: 48, nameRoom: 127 }
const request = (number: number) => 3 * 2 ** 30 + header.size * 2 ** 16 + 0xfd * 2 ** 8 + number
const tableStatus = request(12)
const targetMessage = request(14)
const bufferFull = 1 << 8
/** struct dm_target_spec, which a status follows as text. */
const target = { size: 40, name: 24 }
/** struct dm_target_msg: the sector that the message is for, 0 here. */
const sectorOfMessage = 8
/** More than any status of a pool or a thin device. */
const room = 16_384

/**
 * Sends a message to a device's target. It is done when the kernel has it or not at all: no process that could outlive
 * ours does it.
 *
 * @throws LinuxError of the target: for pools EEXIST, ENODATA (no such thin device) and EBUSY (it is in use)
 */
export async function sendMessage(device: string, message: string): Promise<void> {
  const data = Buffer.concat([Buffer.alloc(sectorOfMessage), Buffer.from(`${message}\0`)])
  await ask(targetMessage, device, data, `${message} in`)
}

/** What is known of a device. */
export interface TargetStatus {
  /** `MAJOR:MINOR`. */
  readonly number: string
  /** Type of the target; '' of a device that was not given its table yet. */
  readonly type: string
  /** What the target says of itself. */
  readonly words: readonly string[]
}

/** Asks for a device, and the target of its table. ENXIO when there is no such device. */
export async function targetStatus(device: string): Promise<TargetStatus> {
  const answer = await ask(tableStatus, device, Buffer.alloc(0), 'status of')
  if ((answer.readUInt32LE(header.flags) & bufferFull) !== 0) throw new LinuxError('ENOBUFS', 'status of', device)
  const spec = answer.subarray(answer.readUInt32LE(header.dataStart))
  const { major, minor } = splitDevice(answer.readBigUInt64LE(header.device))
  const number = `${major}:${minor}`
  if (answer.readUInt32LE(header.targets) === 0) return { number, type: '', words: [] }
  const words = text(spec.subarray(target.size)).split(' ')
  return { number, type: text(spec.subarray(target.name, target.size)), words }
}

const text = (bytes: Buffer) => bytes.toString('utf8', 0, bytes.indexOf(0))

async function ask(number: number, device: string, data: Buffer, what: string): Promise<Buffer> {
  const argument = Buffer.alloc(room)
  // The version of the interface, which the structure begins with.
  argument.writeUInt32LE(4, 0)
  argument.writeUInt32LE(argument.length, header.dataSize)
  argument.writeUInt32LE(header.size, header.dataStart)
  if (argument.write(device, header.name, header.nameRoom) !== Buffer.byteLength(device))
    throw new LinuxError('ENAMETOOLONG', what, device)
  data.copy(argument, header.size)
  const fd = openControl()
  try {
    await ioctlAsync(fd, number, argument, what, device)
  } finally {
    closeSync(fd)
  }
  return argument
}

function openControl(): number {
  try {
    return openSync(control, constants.O_RDWR)
  } catch (error) {
    throw new Error(`the kernel has no device mapper (${control}: ${errnoOf(error)})`, { cause: error })
  }
}
