import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { failedPrecondition } from '@flotilla/rpc'
import { type RegistryHost, serverOf } from './host.ts'
import { readHostsFile } from './hosts-file.ts'
import type { TlsSettings } from './transport.ts'

/**
 * The hosts to ask for a registry's repositories, in order, as the directories of `hostsDir` say (several are
 * separated by `:`; the first that has a directory for the registry counts). Read anew each time: no restart is needed.
 */
export async function hostsFor(
  registry: string,
  options: { readonly hostsDir: string | undefined; readonly defaultScheme: string | undefined },
): Promise<readonly RegistryHost[]> {
  const usual = serverOf(registry, options.defaultScheme)
  const directory = await directoryOf(registry, options.hostsDir ?? '')
  if (directory === undefined) return [usual]
  const file = await readHostsFile(directory)
  if (file === undefined) {
    const tls = await certificatesIn(directory)
    return [tls === undefined ? usual : { ...usual, tls }]
  }
  const { mirrors, server } = file
  if ('host' in server) return [...mirrors, server]
  return [...mirrors, { ...usual, ...server, tls: server.tls ?? usual.tls }]
}

async function directoryOf(registry: string, hostsDir: string): Promise<string | undefined> {
  const names = [registry.replace(/:(\d+)$/, '_$1_'), registry, '_default']
  for (const root of hostsDir.split(':').filter((path) => path !== '')) {
    for (const name of new Set(names)) {
      const path = join(root, name)
      try {
        if ((await stat(path)).isDirectory()) return path
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? error.code : undefined
        if (code !== 'ENOENT' && code !== 'ENOTDIR')
          throw failedPrecondition(`${path} cannot be read: ${error}`, { cause: error })
      }
    }
  }
  return undefined
}

/** Docker's way: `*.crt` are authorities, `NAME.cert` with `NAME.key` is ours. */
async function certificatesIn(directory: string): Promise<TlsSettings | undefined> {
  const names = (await readdir(directory)).sort()
  const read = (name: string) => readFile(join(directory, name), 'utf8')
  const ca = await Promise.all(names.filter((name) => name.endsWith('.crt')).map(read))
  const pairs: Array<{ cert: string; key: string }> = []
  for (const name of names.filter((one) => one.endsWith('.cert'))) {
    const key = `${name.slice(0, -'.cert'.length)}.key`
    if (!names.includes(key)) throw failedPrecondition(`${join(directory, name)} has no ${key} beside it`)
    pairs.push({ cert: await read(name), key: await read(key) })
  }
  return ca.length === 0 && pairs.length === 0 ? undefined : { ca, pairs, skipVerify: false }
}
