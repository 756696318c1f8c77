import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { errnoOf } from '@flotilla/linux'
import { failedPrecondition, notFound, resourceExhausted } from '@flotilla/rpc'
import { sendMessage, targetStatus } from './control.ts'

const run = promisify(execFile)

/** Bytes in the device mapper's unit, whatever the disk's is. */
export const sectorSize = 512
/** Thin devices have numbers of 24 bits. */
export const highestThin = 2 ** 24 - 1

/** Milliseconds after which dmsetup is ended: it waits for udev and for devices that are still in use, but not for long. */
const timeout = 60_000

/** A pool of thin devices, each of which has a number that its maker chose. */
export interface Pool {
  /** Rejects when nothing can be made in it any more: RESOURCE_EXHAUSTED when it is full. */
  requireRoom(): Promise<void>
  /** Blocks of data that its devices have. */
  usedBlocks(): Promise<number>
  /** Makes a device, empty or as another one is that is not active. False when the number is taken. */
  create(thin: number, origin?: number): Promise<boolean>
  /** Deletes a device that is not active. Not there is fine. */
  delete(thin: number): Promise<void>
  /** Where a device is that is active. */
  path(thin: number): string
  /** Gives a device its {@link path}, if it has not got it. NOT_FOUND when the pool has no such device. */
  activate(thin: number, sectors: number): Promise<void>
  /** Takes the path away. FAILED_PRECONDITION when somebody has it mounted or open; not active is fine. */
  deactivate(thin: number): Promise<void>
  /** Sectors of the pool that an active device has, those that it shares with others included. */
  mapped(thin: number): Promise<number>
}

/** Opens a pool by its name below `/dev/mapper`. Rejects with the reason when it cannot be used. */
export async function openPool(pool: string): Promise<Pool> {
  const nameOf = (thin: number) => `${pool}-snap-${thin}`
  const pathOf = (thin: number) => `/dev/mapper/${nameOf(thin)}`

  /** Documentation/admin-guide/device-mapper/thin-provisioning.rst: the words of the status. */
  async function status() {
    const { number, type, words } = await targetStatus(pool).catch((error) => {
      if (errnoOf(error) === 'ENXIO') throw notFound(`thin pool ${pool}`)
      throw error
    })
    if (type !== 'thin-pool') throw failedPrecondition(`${pool} is no thin pool`)
    return { number, data: words[2] ?? '', mode: words[4] ?? words[0] ?? '', needsCheck: words.includes('needs_check') }
  }

  async function requireRoom(): Promise<void> {
    const { data, mode, needsCheck } = await status()
    const [used, all] = data.split('/')
    if (mode === 'out_of_data_space' || used === all) throw resourceExhausted(`thin pool ${pool} is full`)
    if (mode !== 'rw' || needsCheck) throw failedPrecondition(`thin pool ${pool} has to be checked (${mode})`)
  }

  /** Whether a device is active: all of it, as far as it has no table yet, or not at all. */
  async function stateOf(thin: number): Promise<'active' | 'begun' | 'inactive'> {
    try {
      return (await targetStatus(nameOf(thin))).type === 'thin' ? 'active' : 'begun'
    } catch (error) {
      if (errnoOf(error) === 'ENXIO') return 'inactive'
      throw error
    }
  }

  async function deactivate(thin: number): Promise<void> {
    if ((await stateOf(thin)) === 'inactive') return
    try {
      // Again for some seconds: udev looks into a device that was just unmounted.
      await dmsetup('remove', '--retry', nameOf(thin))
    } catch (error) {
      if ((await stateOf(thin)) === 'inactive') return
      if (!/busy/i.test(String(error))) throw error
      throw failedPrecondition(`thin device ${thin} is in use`, { cause: error })
    }
  }

  await status()
  await dmsetup('--version')
  return {
    requireRoom,
    usedBlocks: async () => Number.parseInt((await status()).data, 10),
    async create(thin, origin) {
      try {
        await sendMessage(pool, origin === undefined ? `create_thin ${thin}` : `create_snap ${thin} ${origin}`)
        return true
      } catch (error) {
        if (errnoOf(error) === 'EEXIST') return false
        if (errnoOf(error) === 'ENODATA') throw notFound(`thin device ${origin} of pool ${pool}`)
        throw error
      }
    },
    async delete(thin) {
      await sendMessage(pool, `delete ${thin}`).catch((error) => {
        if (errnoOf(error) !== 'ENODATA') throw error
      })
    },
    path: pathOf,
    async activate(thin, sectors) {
      const state = await stateOf(thin)
      if (state === 'active' && existsSync(pathOf(thin))) return
      if (state === 'active') return void (await dmsetup('mknodes', nameOf(thin)))
      // What a killed process left.
      if (state === 'begun') await deactivate(thin)
      const table = `0 ${sectors} thin ${(await status()).number} ${thin}`
      await dmsetup('create', nameOf(thin), '--table', table).catch((error) => {
        if (/No data available/.test(error.message)) throw notFound(`thin device ${thin} of pool ${pool}`)
        throw error
      })
    },
    deactivate,
    async mapped(thin) {
      const { words } = await targetStatus(nameOf(thin))
      const sectors = Number(words[0])
      if (!Number.isSafeInteger(sectors)) throw failedPrecondition(`thin device ${thin} cannot be read: ${words[0]}`)
      return sectors
    },
  }
}

async function dmsetup(...args: string[]): Promise<void> {
  try {
    // Debian's dmsetup leaves paths to udev even where there is none.
    const udev = existsSync('/run/udev/control') ? {} : { DM_DISABLE_UDEV: '1' }
    await run('dmsetup', args, { env: { ...process.env, ...udev, LC_ALL: 'C' }, timeout })
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw new Error('dmsetup is not installed', { cause: error })
    const { stderr = '' } = error as { stderr?: string }
    throw new Error(`dmsetup ${args[0]}: ${stderr.trim().replaceAll(/\s*\n\s*/g, ' ')}`, { cause: error })
  }
}
