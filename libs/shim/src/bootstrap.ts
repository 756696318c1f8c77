import { BootstrapResult } from '@flotilla/api/containerd/runtime/bootstrap/v1/bootstrap'
import { internal } from '@flotilla/rpc'
import { type Bundle, readBundleFile, writeBundleFile } from './bundle.ts'

/** How to reach a shim. */
export interface Bootstrap {
  /** Version of the task API: 2 or 3. */
  readonly version: number
  /** `unix://PATH`. */
  readonly address: string
  readonly protocol: string
}

/**
 * Reads what a shim's `start` wrote: a BootstrapResult message (2.3 and later), JSON (2.0 to 2.2) or the address as
 * plain text (before). A message's first byte is a field tag that starts neither of the texts.
 */
export function parseStartOutput(output: Buffer): Bootstrap {
  const text = output.toString().trim()
  if (text.startsWith('{')) return fromJson(text)
  if (/^[a-z+]+:\/\//.test(text)) return { version: 2, address: text, protocol: 'ttrpc' }
  try {
    const result = BootstrapResult.decode(output)
    if (result.address !== '')
      return { version: result.version, address: result.address, protocol: result.protocol || 'ttrpc' }
  } catch {
    // Not a message either.
  }
  throw internal(`shim start answered nothing that can be read: ${JSON.stringify(text.slice(0, 200))}`)
}

function fromJson(text: string): Bootstrap {
  const { version, address, protocol } = JSON.parse(text) as Partial<Bootstrap>
  if (typeof address !== 'string' || address === '') throw internal('shim start answered no address')
  return { version: typeof version === 'number' ? version : 2, address, protocol: protocol || 'ttrpc' }
}

/** Path of the unix socket in a shim's address. */
export function socketPath(address: string): string {
  return address.replace(/^(ttrpc\+)?unix:\/\//, '')
}

const file = 'bootstrap.json'

export async function writeBootstrap(bundle: Bundle, bootstrap: Bootstrap): Promise<void> {
  await writeBundleFile(bundle, file, JSON.stringify(bootstrap))
}

/** How to reach the shim of a bundle that was there before us; undefined when it never got so far. */
export async function readBootstrap(bundle: Bundle): Promise<Bootstrap | undefined> {
  const ours = await readBundleFile(bundle, file)
  if (ours !== undefined) return fromJson(ours)
  // Shims before 2.0 write this file themselves.
  const address = await readBundleFile(bundle, 'address')
  return address ? { version: 2, address: address.trim(), protocol: 'ttrpc' } : undefined
}
