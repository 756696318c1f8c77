import { readFile } from 'node:fs/promises'
import { join, posix, resolve } from 'node:path'
import { failedPrecondition } from '@flotilla/rpc'
import { parse } from 'smol-toml'
import { headersOf } from './headers.ts'
import { type Capability, defaultHost, type RegistryHost } from './host.ts'
import type { TlsSettings } from './transport.ts'

type Table = Readonly<Record<string, unknown>>

/** A hosts.toml: the mirrors in their order, then the registry itself; undefined where it is not named. */
export interface HostsFile {
  readonly mirrors: readonly RegistryHost[]
  /** What the top of the file says: for the `server` it names or, without one, for the registry's usual server. */
  readonly server: RegistryHost | Pick<RegistryHost, 'headers' | 'tls' | 'dialTimeout'>
}

/**
 * Reads `hosts.toml` of a registry's directory; undefined when there is none or it is empty.
 *
 * @throws FAILED_PRECONDITION naming the file when it cannot be understood: a pull that ignored it would go to a host
 * that the operator meant to keep it from
 */
export async function readHostsFile(directory: string): Promise<HostsFile | undefined> {
  const file = join(directory, 'hosts.toml')
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw failedPrecondition(`${file} cannot be read: ${error}`, { cause: error })
  }
  if (text.trim() === '') return undefined
  try {
    const table: Table = parse(text)
    const mirrors: RegistryHost[] = []
    if (table.host !== undefined && !isTable(table.host)) throw new Error('host is no table')
    for (const [url, entry] of Object.entries(table.host ?? {})) {
      if (!isTable(entry)) throw new Error(`host ${JSON.stringify(url)} is no table`)
      mirrors.push(await hostOf(url, entry, directory))
    }
    const server = typeof table.server === 'string' && table.server !== '' ? table.server : undefined
    return {
      mirrors,
      server: server === undefined ? await settingsOf(table, directory) : await hostOf(server, table, directory),
    }
  } catch (error) {
    throw failedPrecondition(`${file}: ${error instanceof Error ? error.message : error}`, { cause: error })
  }
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

async function hostOf(address: string, table: Table, directory: string): Promise<RegistryHost> {
  const text = address.startsWith('http') ? address : `https://${address}`
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || url.host === '') throw new Error(`${JSON.stringify(address)} is no address`)
  const scheme = url.protocol === 'http:' ? 'http' : 'https'
  const given = posix.normalize(url.pathname).replace(/\/$/, '')
  const path = table.override_path === true || given.endsWith('/v2') ? given : `${given}/v2`
  const settings = await settingsOf(table, directory)
  // Plain by its address yet with settings for TLS: TLS is tried first.
  const plainFallback = scheme === 'http' && settings.tls !== undefined && url.port !== '' && url.port !== '80'
  return {
    ...defaultHost,
    ...settings,
    scheme: plainFallback ? 'https' : scheme,
    // The registry of that name is served elsewhere; containerd's own examples write it so.
    host: url.host === 'docker.io' ? 'registry-1.docker.io' : url.host,
    path,
    capabilities: capabilitiesOf(table.capabilities),
    plainFallback,
  }
}

function capabilitiesOf(value: unknown): ReadonlySet<Capability> {
  const names = strings(value, 'capabilities')
  if (names.length === 0) return defaultHost.capabilities
  return new Set(
    names.map((text) => {
      const name = text.toLowerCase()
      if (name === 'pull' || name === 'resolve' || name === 'push') return name
      throw new Error(`unknown capability ${text}`)
    }),
  )
}

async function settingsOf(table: Table, directory: string) {
  const headers: Record<string, string> = {}
  if (table.header !== undefined && !isTable(table.header)) throw new Error('header is no table')
  for (const [name, value] of Object.entries(table.header ?? {}))
    headers[name] = strings(value, `header ${name}`).join(', ')
  const timeout = strings(table.dial_timeout, 'dial_timeout')[0]
  return {
    headers: headersOf(headers),
    tls: await tlsOf(table, directory),
    dialTimeout: timeout ? milliseconds(timeout) : undefined,
  }
}

async function tlsOf(table: Table, directory: string): Promise<TlsSettings | undefined> {
  if (table.ca === undefined && table.client === undefined && table.skip_verify === undefined) return undefined
  if (table.skip_verify !== undefined && typeof table.skip_verify !== 'boolean')
    throw new Error('skip_verify is neither true nor false')
  const read = (path: string) => readFile(resolve(directory, path), 'utf8')
  const ca = await Promise.all(strings(table.ca, 'ca').map(read))
  const given = table.client === undefined ? [] : Array.isArray(table.client) ? table.client : [table.client]
  const pairs: Array<{ cert: string; key: string }> = []
  for (const one of given) {
    const [cert, key = cert, ...more] = strings(one, 'client')
    if (cert === undefined || key === undefined || more.length > 0)
      throw new Error(`${JSON.stringify(one)} is no pair of certificate and key`)
    pairs.push({ cert: await read(cert), key: await read(key) })
  }
  return { ca, pairs, skipVerify: table.skip_verify === true }
}

function strings(value: unknown, what: string): string[] {
  if (value === undefined) return []
  const list = Array.isArray(value) ? value : [value]
  return list.map((one) => {
    if (typeof one !== 'string') throw new Error(`${what} is no text: ${JSON.stringify(one)}`)
    return one
  })
}

const units: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** A duration as Go writes it, `1m30s`, in milliseconds. */
function milliseconds(text: string): number {
  const pieces = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)]
  if (pieces.length === 0 || pieces.map(([piece]) => piece).join('') !== text)
    throw new Error(`${JSON.stringify(text)} is no duration`)
  return pieces.reduce((sum, [, count, unit]) => sum + Number(count) * (units[unit ?? ''] ?? 0), 0)
}
