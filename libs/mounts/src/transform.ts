import { mkdir, stat } from 'node:fs/promises'
import type { ActiveMount, Mount } from '@flotilla/api/containerd/types/types'
import { errnoOf } from '@flotilla/linux'
import { failedPrecondition, invalidArgument, unimplemented } from '@flotilla/rpc'
import { makeFileSystem } from './make-file-system.ts'
import { placeBelow } from './place-below.ts'
import { filled } from './template.ts'

/** Changes a mount before it is made; `active` are those before it, `roots` the directories that may be written in. */
export type Transform = (mount: Mount, active: readonly ActiveMount[], roots: readonly string[]) => Promise<Mount>

const mkdirOption = 'X-containerd.mkdir.'

/** By the prefix of a mount's type: `format/mkdir/overlay` has two. */
export const transforms: ReadonlyMap<string, Transform> = new Map<string, Transform>([
  [
    'format',
    async (mount, active) => ({
      ...mount,
      source: filled(mount.source, active),
      target: filled(mount.target, active),
      options: mount.options.map((option) => filled(option, active)),
    }),
  ],
  [
    'mkdir',
    async (mount, _active, roots) => {
      for (const option of mount.options) if (option.startsWith(mkdirOption)) await makeDirectory(option, roots)
      return { ...mount, options: mount.options.filter((option) => !option.startsWith(mkdirOption)) }
    },
  ],
  ['mkfs', (mount, _active, roots) => makeFileSystem(mount, roots)],
])

/** `X-containerd.mkdir.path=PATH[:MODE[:UID:GID]]`, a directory below one of the roots. */
async function makeDirectory(option: string, roots: readonly string[]): Promise<void> {
  const [path = '', modeText, ...owner] = option
    .slice(mkdirOption.length)
    .replace(/^path=/, '')
    .split(':')
  const isPath = option.startsWith(`${mkdirOption}path=`)
  if (!isPath || path === '' || owner.length === 1 || owner.length > 2 || !/^[0-7]*$/.test(modeText ?? ''))
    throw invalidArgument(`invalid mkdir option "${option}"`)
  if (owner.some((id) => id !== '0')) throw unimplemented('chown of a directory that mkdir makes')
  const mode = modeText ? Number.parseInt(modeText, 8) : 0o700
  const place = await placeBelow(path, roots, 'mkdir')
  try {
    await mkdir(place, { mode })
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
    if (!(await stat(place)).isDirectory())
      throw failedPrecondition(`mkdir target "${path}" exists and is not a directory`)
  }
}
