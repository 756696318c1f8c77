import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, existsSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Any } from '@flotilla/api/google/protobuf/any'
import { errnoOf, mountsBelow, unmountAll } from '@flotilla/linux'

const taskPlugin = 'io.containerd.runtime.v2.task'
const sandboxPlugin = 'io.containerd.sandbox.controller.v1.shim'

/** The directory of one task or sandbox. Shims insist that its last part is the task's id. */
export interface Bundle {
  readonly namespace: string
  readonly id: string
  readonly path: string
  /** Where a runtime may keep files across reboots. */
  readonly work: string
}

/** Where bundles and their work directories lie. */
export interface BundleRoots {
  readonly state: string
  readonly root: string
}

export function bundleRoots(state: string, root: string): BundleRoots {
  return { state: join(state, taskPlugin), root: join(root, taskPlugin) }
}

/** Where sandboxes have theirs. */
export function sandboxRoots(state: string, root: string): BundleRoots {
  return { state: join(state, sandboxPlugin), root: join(root, sandboxPlugin) }
}

export function bundleOf(roots: BundleRoots, namespace: string, id: string): Bundle {
  return { namespace, id, path: join(roots.state, namespace, id), work: join(roots.root, namespace, id) }
}

/**
 * Makes a bundle with the spec as config.json. What an earlier task of the same id left is removed first. A user
 * namespace's root group may enter the directory, nobody else.
 */
export async function createBundle(bundle: Bundle, spec: Any | undefined): Promise<void> {
  await removeBundle(bundle)
  await Promise.all([mkdir(bundle.work, { recursive: true, mode: 0o711 }), fillBundle(bundle, spec)])
}

/**
 * Makes the bundle's own directory. The state directory is meant to be in memory, where each of these calls takes less
 * than to hand it to another thread: together they are done before the first would have come back from there.
 */
async function fillBundle(bundle: Bundle, spec: Any | undefined): Promise<void> {
  mkdirSync(dirname(bundle.path), { recursive: true, mode: 0o711 })
  mkdirSync(bundle.path, { mode: 0o700 })
  const group = spec && mappedRootGroup(spec.value)
  if (group) {
    chownSync(bundle.path, -1, group)
    chmodSync(bundle.path, 0o710)
  }
  mkdirSync(join(bundle.path, 'rootfs'), { mode: 0o711 })
  symlinkSync(bundle.work, join(bundle.path, 'work'))
  if (spec) writeFileSync(join(bundle.path, 'config.json'), spec.value, { mode: 0o666 })
}

/** The host's id of a user namespace's group 0; undefined without a mapping. */
function mappedRootGroup(spec: Uint8Array): number | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(spec).toString())
  } catch {
    return undefined // The runtime will say what is wrong with it.
  }
  const mappings = (parsed as { linux?: { gidMappings?: { containerID: number; hostID: number }[] } } | null)?.linux
    ?.gidMappings
  return mappings?.find?.((mapping) => mapping.containerID === 0)?.hostID
}

/** Unmounts what is below the bundle and removes it and its work directory. No error when there is none. */
export async function removeBundle(bundle: Bundle): Promise<void> {
  await removeTree(bundle.path)
  await removeTree(bundle.work)
}

/**
 * Removes a directory, in two steps so that a crash leaves either the whole or a hidden rest that
 * {@link removeRests} takes. Never descends into a mount.
 */
async function removeTree(path: string): Promise<void> {
  if (!existsSync(path)) return
  await unmountAll(path)
  const hidden = join(dirname(path), `.${randomBytes(8).toString('hex')}`)
  try {
    await rename(path, hidden)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return
    throw error
  }
  await removeHidden(hidden)
}

async function removeHidden(path: string): Promise<void> {
  await unmountAll(path)
  const [mounted] = mountsBelow(path)
  if (mounted) throw new Error(`${mounted.target} is still mounted`)
  await rm(path, { recursive: true, force: true })
}

/** All bundles on disk. */
export async function listBundles(roots: BundleRoots): Promise<Bundle[]> {
  const bundles: Bundle[] = []
  for (const namespace of await folders(roots.state)) {
    for (const id of await folders(join(roots.state, namespace))) bundles.push(bundleOf(roots, namespace, id))
  }
  return bundles
}

/** Removes what interrupted removals left, and work directories whose bundle a reboot took. */
export async function removeRests(roots: BundleRoots): Promise<void> {
  for (const base of [roots.state, roots.root]) {
    for (const namespace of await folders(base)) {
      for (const entry of await names(join(base, namespace))) {
        if (entry.startsWith('.')) await removeHidden(join(base, namespace, entry))
      }
    }
  }
  const kept = new Set((await listBundles(roots)).map((bundle) => bundle.work))
  for (const namespace of await folders(roots.root)) {
    for (const id of await folders(join(roots.root, namespace))) {
      const work = bundleOf(roots, namespace, id).work
      if (!kept.has(work)) await removeTree(work)
    }
  }
}

async function names(path: string): Promise<string[]> {
  return await readdir(path).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  })
}

async function folders(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  })
  return entries.flatMap((entry) => (entry.isDirectory() && !entry.name.startsWith('.') ? [entry.name] : []))
}

/** Writes a file of a bundle so that a crash leaves the old one or the new one. */
export async function writeBundleFile(bundle: Bundle, name: string, text: string): Promise<void> {
  const path = join(bundle.path, name)
  writeFileSync(`${path}.new`, text, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/** A file of a bundle, undefined when it is not there. */
export async function readBundleFile(bundle: Bundle, name: string): Promise<string | undefined> {
  try {
    return await readFile(join(bundle.path, name), 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}
