import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { link, open, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { Mount } from '@flotilla/api/containerd/types/types'
import { errnoOf } from '@flotilla/linux'
import { failedPrecondition, invalidArgument, unimplemented } from '@flotilla/rpc'
import { placeBelow } from './place-below.ts'

const run = promisify(execFile)

const prefix = 'X-containerd.mkfs.'

/** The arguments of `mkfs.NAME` for a file and, if given, a UUID. */
const makers: Readonly<Record<string, (file: string, uuid: string | undefined) => string[]>> = {
  ext4: (file, uuid) => ['-q', '-F', ...(uuid ? ['-U', uuid] : []), file],
  xfs: (file, uuid) => ['-q', ...(uuid ? ['-m', `uuid=${uuid}`] : []), file],
}

const units: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }

/** Bytes of `67108864`, `64MiB`, `64M`. */
function bytesOf(text: string): number {
  const match = /^(\d+)\s*([KMGT]?)(?:i?B)?$/i.exec(text)
  const size = Number(match?.[1]) * (units[match?.[2]?.toUpperCase() ?? ''] ?? Number.NaN)
  if (!Number.isSafeInteger(size) || size <= 0) throw invalidArgument(`invalid mkfs option "${prefix}size=${text}"`)
  return size
}

/**
 * Makes the file that a mount's source names, with an empty file system, as options `X-containerd.mkfs.size`, `.fs` and
 * `.uuid` say; one that is there stays as it is. Answers the mount without these options.
 */
export async function makeFileSystem(mount: Mount, roots: readonly string[]): Promise<Mount> {
  const told = new Map<string, string>()
  for (const option of mount.options.filter((one) => one.startsWith(prefix))) {
    const [, key = '', value = ''] = /^(size|fs|uuid)=(.+)$/.exec(option.slice(prefix.length)) ?? []
    if (key === '') throw invalidArgument(`invalid mkfs option "${option}"`)
    told.set(key, value)
  }
  const kind = told.get('fs') ?? mount.type.slice(mount.type.lastIndexOf('/') + 1)
  const maker = Object.hasOwn(makers, kind) ? makers[kind] : undefined
  if (maker === undefined) throw unimplemented(`mkfs of "${kind}"`)
  const uuid = told.get('uuid')
  if (uuid !== undefined && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(uuid))
    throw invalidArgument(`invalid mkfs option "${prefix}uuid=${uuid}"`)
  const size = bytesOf(told.get('size') ?? '')
  const place = await placeBelow(mount.source, roots, 'mkfs')

  const found = await stat(place).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error
    return undefined
  })
  if (found === undefined) await make(place, size, kind, (file) => maker(file, uuid))
  else if (!found.isFile()) throw failedPrecondition(`mkfs source "${mount.source}" exists and is not a file`)
  return { ...mount, options: mount.options.filter((option) => !option.startsWith(prefix)) }
}

/** It gets its name when it is whole, so that what was cut off is never mounted. */
async function make(place: string, size: number, kind: string, args: (file: string) => string[]): Promise<void> {
  const draft = join(dirname(place), `.${basename(place)}.${randomBytes(6).toString('hex')}`)
  try {
    await using file = await open(draft, 'wx', 0o600)
    await file.truncate(size)
    await run(`mkfs.${kind}`, args(draft)).catch((error: Error & { stderr?: string }) => {
      throw failedPrecondition(`mkfs.${kind}: ${error.stderr?.trim() || error.message}`, { cause: error })
    })
    await file.sync()
    await link(draft, place).catch((error: unknown) => {
      // Another call has made it meanwhile.
      if (errnoOf(error) !== 'EEXIST') throw error
    })
  } finally {
    await rm(draft, { force: true })
  }
}
