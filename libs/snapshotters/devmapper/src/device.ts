import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf } from '@flotilla/linux'
import type { Content, FileSystem } from './file-system.ts'

/** What is known of a snapshot's device. */
export interface Device {
  /** Its number in the pool. */
  readonly thin: number
  readonly sectors: number
  readonly fileSystem: FileSystem
  /** What it had when it was made, and does not count as its own. */
  readonly initial: Content
}

/** The record of a device: of one that may have been begun its number alone. */
export type DeviceRecord = Pick<Device, 'thin'> | Device

const file = (directory: string) => join(directory, 'device')

/** Puts a record into a snapshot's directory, in place of the one that is there. */
export async function writeDevice(directory: string, device: DeviceRecord): Promise<void> {
  await writeFile(`${file(directory)}.new`, JSON.stringify(device), { mode: 0o600 })
  await rename(`${file(directory)}.new`, file(directory))
}

/** The record in a snapshot's directory; undefined where there is none yet. */
export async function readDevice(directory: string): Promise<DeviceRecord | undefined> {
  try {
    return JSON.parse(await readFile(file(directory), 'utf8'))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Whether all of a device was made. */
export function isWhole(device: DeviceRecord | undefined): device is Device {
  return device !== undefined && 'initial' in device
}
