import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import { notFound, resourceExhausted } from '@flotilla/rpc'
import {
  counterFile,
  type Directory,
  type DiskUsage,
  type DriverKind,
  openDirectories,
} from '@flotilla/snapshot-driver'
import { Turns } from '@flotilla/turns'
import { type Device, isWhole, readDevice, writeDevice } from './device.ts'
import { type Content, type FileSystem, inodesIn, makeFileSystem } from './file-system.ts'
import { highestThin, openPool, sectorSize } from './pool.ts'

const run = promisify(execFile)

export interface DevmapperOptions {
  /** Name of the thin pool below `/dev/mapper`; empty: the driver is not to be used. */
  readonly poolName: string
  /** The driver's root in place of the usual one; empty: the usual one. */
  readonly rootPath: string
  /** Bytes of the file system that a snapshot without a parent begins with. */
  readonly baseImageSize: number
  readonly fileSystem: FileSystem
  /** What mkfs is told in place of the usual; empty: the usual. */
  readonly fileSystemOptions: readonly string[]
  /** Whether a removal answers before the device is deleted. */
  readonly asyncRemove: boolean
  /** Whether what a device had is given back to the disk below the pool when it is deleted. */
  readonly discardBlocks: boolean
}

/**
 * The driver of thin devices: `ROOT/snapshots/ID/device` says which device of the pool a snapshot is. It is written
 * before the device is made and goes after it, so that what a kill leaves is found. A device is active (has a path) from
 * its making to its commit, and again when somebody asks how to mount it.
 */
export function devmapper(options: DevmapperOptions): DriverKind {
  return {
    name: 'devmapper',
    ...(options.rootPath === '' ? {} : { root: options.rootPath }),
    async open(root, logger) {
      const { poolName, discardBlocks } = options
      if (poolName === '') throw new Error('no thin pool is configured (devmapper.pool_name)')
      const pool = await openPool(poolName)
      // A number that is taken would be another's: what a kill leaves half made could not be told from it.
      if (!existsSync(counterFile(root)) && (await pool.usedBlocks()) > 0)
        throw new Error(`thin pool ${poolName} has devices that are not of ${root}`)
      const directories = await openDirectories(root, logger, options.asyncRemove ? eraseLater : erase)
      /** One thing at a time for each snapshot. */
      const turns = new Turns()
      const erasing = new Set<Promise<void>>()

      async function erase(path: string): Promise<void> {
        const device = await readDevice(path)
        if (device !== undefined) {
          if (discardBlocks && isWhole(device)) await discard(device)
          await pool.deactivate(device.thin)
          await pool.delete(device.thin)
        }
        await rm(path, { recursive: true, force: true })
      }

      async function eraseLater(path: string): Promise<void> {
        const done = erase(path)
          .catch((err) => logger.warn({ err, directory: path }, 'snapshot is deleted at the next start'))
          .finally(() => erasing.delete(done))
        erasing.add(done)
      }

      async function discard({ thin, sectors }: Device): Promise<void> {
        try {
          await pool.activate(thin, sectors)
          await run('blkdiscard', [pool.path(thin)])
        } catch (err) {
          logger.warn({ err, thin }, 'blocks of a device were not discarded')
        }
      }

      async function deviceOf(id: string): Promise<Device> {
        directories.require([id])
        const device = await readDevice(directories.path(id))
        if (!isWhole(device)) throw notFound(`device of snapshot directory ${id}`)
        return device
      }

      /** Makes a device by a number that was not used before, which is written down first. */
      async function makeDevice(directory: string, origin: Device | undefined, signal: AbortSignal): Promise<number> {
        for (;;) {
          const thin = Number(await directories.unused())
          if (thin > highestThin) throw resourceExhausted(`no number is left for a device in thin pool ${poolName}`)
          await writeDevice(directory, { thin })
          signal.throwIfAborted()
          if (await pool.create(thin, origin?.thin)) return thin
        }
      }

      async function contentOf({ thin, sectors, fileSystem }: Omit<Device, 'initial'>): Promise<Content> {
        await pool.activate(thin, sectors)
        const size = (await pool.mapped(thin)) * sectorSize
        return { size, inodes: await inodesIn(fileSystem, pool.path(thin)) }
      }

      async function makeEmpty(directory: string, signal: AbortSignal): Promise<void> {
        const { fileSystem, fileSystemOptions } = options
        const sectors = Math.floor(options.baseImageSize / sectorSize)
        const thin = await makeDevice(directory, undefined, signal)
        await pool.activate(thin, sectors)
        await makeFileSystem(fileSystem, fileSystemOptions, pool.path(thin), signal)
        const { size, inodes } = await contentOf({ thin, sectors, fileSystem })
        // Its root counts as its own.
        await writeDevice(directory, { thin, sectors, fileSystem, initial: { size, inodes: inodes - 1 } })
      }

      async function makeSnapshot(directory: string, parentId: string, signal: AbortSignal): Promise<void> {
        const { sectors, fileSystem, thin } = await snapshotOf(directory, parentId, signal)
        const initial = await contentOf({ thin, sectors, fileSystem })
        await writeDevice(directory, { thin, sectors, fileSystem, initial })
      }

      async function snapshotOf(directory: string, parentId: string, signal: AbortSignal) {
        using _ = await turns.take(parentId, signal)
        const parent = await deviceOf(parentId)
        // The kernel takes a snapshot of what is written; of an active one, something might not be yet.
        await pool.deactivate(parent.thin)
        return { ...parent, thin: await makeDevice(directory, parent, signal) }
      }

      async function usageOf(device: Device): Promise<DiskUsage> {
        const { size, inodes } = await contentOf(device)
        return {
          size: Math.max(0, size - device.initial.size),
          inodes: Math.max(0, inodes - device.initial.inodes),
        }
      }

      async function remove(id: string): Promise<void> {
        using _ = await turns.take(id)
        const device = await readDevice(directories.path(id))
        // What is in use stays.
        if (device !== undefined) await pool.deactivate(device.thin)
        await directories.remove([id])
      }

      return {
        capabilities: [],
        async create({ parents: [nearest] }, signal) {
          await pool.requireRoom()
          return await directories.create((directory) =>
            nearest === undefined ? makeEmpty(directory, signal) : makeSnapshot(directory, nearest, signal),
          )
        },
        async mounts({ id, readonly }) {
          using _ = await turns.take(id)
          const { thin, sectors, fileSystem } = await deviceOf(id)
          await pool.activate(thin, sectors)
          const mountOptions = [
            readonly ? 'ro' : 'rw',
            // A snapshot has the identifier of its parent, of which the kernel would mount one only.
            ...(fileSystem === 'xfs' ? ['nouuid'] : []),
            ...(discardBlocks ? ['discard'] : []),
          ]
          return [{ type: fileSystem, source: pool.path(thin), target: '', options: mountOptions }]
        },
        async usage({ id }) {
          using _ = await turns.take(id)
          return await usageOf(await deviceOf(id))
        },
        async commit({ id }: Directory) {
          using _ = await turns.take(id)
          const device = await deviceOf(id)
          const usage = await usageOf(device)
          // FAILED_PRECONDITION while it is mounted: what is written later would be in its children or not.
          await pool.deactivate(device.thin)
          return usage
        },
        async remove(ids) {
          const failures: unknown[] = []
          for (const id of ids.filter((one) => /^[0-9]+$/.test(one)))
            await remove(id).catch((error) => failures.push(error))
          if (failures.length > 0) throw failures[0]
        },
        ids: (age) => directories.ids(age),
        // Devices stay active: containers that run on them outlive us.
        async [Symbol.asyncDispose]() {
          await directories[Symbol.asyncDispose]()
          await Promise.all(erasing)
        },
      }
    },
  }
}
