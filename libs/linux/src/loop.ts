import { closeSync, constants, openSync } from 'node:fs'
import { errnoOf } from './errno.ts'
import { ioctl } from './ioctl.ts'

// linux/loop.h
const getFree = 0x4c82
const configure = 0x4c0a
/** struct loop_config, and where in it its descriptor, its flags and the name for humans are. */
const layout = { size: 304, fd: 0, flags: 60, name: 64, nameRoom: 63 }
const flag = { readonly: 1, autoclear: 4 }

/** Devices that others may take between our asking for a free one and our taking it, in a row. */
const attempts = 64

/** A loop device that is attached to a file. */
export interface LoopDevice extends Disposable {
  /** `/dev/loopN`. */
  readonly path: string
}

/**
 * Attaches a file to a free loop device, which the kernel detaches when nobody uses it any more: disposing gives up our
 * use, a mount of it is one.
 */
export function attachLoop(file: string, readonly: boolean): LoopDevice {
  const mode = readonly ? constants.O_RDONLY : constants.O_RDWR
  const backing = openSync(file, mode)
  try {
    for (let attempt = 0; ; attempt++) {
      const path = freeDevice()
      const device = openSync(path, mode)
      try {
        take(device, backing, file, readonly)
        return { path, [Symbol.dispose]: () => closeSync(device) }
      } catch (error) {
        closeSync(device)
        if (errnoOf(error) !== 'EBUSY' || attempt === attempts) throw error
      }
    }
  } finally {
    closeSync(backing)
  }
}

function freeDevice(): string {
  const control = openSync('/dev/loop-control', constants.O_RDWR)
  try {
    return `/dev/loop${ioctl(control, getFree, null, 'loop device')}`
  } finally {
    closeSync(control)
  }
}

function take(device: number, backing: number, file: string, readonly: boolean): void {
  const config = Buffer.alloc(layout.size)
  config.writeUInt32LE(backing, layout.fd)
  config.writeUInt32LE(flag.autoclear | (readonly ? flag.readonly : 0), layout.flags)
  Buffer.from(file).copy(config, layout.name, 0, layout.nameRoom)
  ioctl(device, configure, config, 'loop device', file)
}
