import { constants } from 'node:fs'
import { access, readdir, stat } from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'
import { failedPrecondition, invalidArgument } from '@flotilla/rpc'

/** `io.containerd.runc.v2` → `containerd-shim-runc-v2`; undefined when the name has no such form. */
export function shimBinaryName(runtime: string): string | undefined {
  const parts = runtime.split('.')
  const [name, version] = parts.slice(-2)
  if (parts.length < 2 || !name || !version || runtime.includes('/')) return undefined
  return `containerd-shim-${name}-${version}`
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}

/**
 * Finds the shim of a runtime: an absolute path is taken as it is; otherwise the binary is looked up on the search
 * path, beside our own program and in /usr/local/bin.
 *
 * @throws INVALID_ARGUMENT for a name of no known form, FAILED_PRECONDITION when this node lacks the binary
 */
export async function findShimBinary(runtime: string, searchPath: string, program: string): Promise<string> {
  if (runtime === '') throw invalidArgument('no runtime name')
  if (isAbsolute(runtime)) {
    if (await isProgram(runtime)) return runtime
    throw failedPrecondition(`runtime "${runtime}" is not a program on this node`)
  }
  const name = shimBinaryName(runtime)
  if (name === undefined)
    throw invalidArgument(
      `runtime name "${runtime}" is neither of the form io.containerd.runc.v2 nor the absolute path of a shim`,
    )
  const folders = [...searchPath.split(':').filter(isAbsolute), dirname(program), '/usr/local/bin']
  for (const folder of folders) {
    const path = join(folder, name)
    if (await isProgram(path)) return path
  }
  throw failedPrecondition(`runtime "${runtime}" binary not installed "${name}"`)
}

/** The runtimes that a search path has shims for, as containers name them: `io.containerd.runc.v2`. */
export async function installedRuntimes(searchPath: string): Promise<string[]> {
  const names = new Set<string>()
  for (const folder of [...searchPath.split(':').filter(isAbsolute), '/usr/local/bin'])
    for (const entry of await readdir(folder).catch(() => [])) {
      const match = /^containerd-shim-(.+)-(v\d+)$/.exec(entry)
      if (match) names.add(`io.containerd.${match[1]}.${match[2]}`)
    }
  return [...names].sort()
}
