import { readFileSync, statSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { experimental } from '@grpc/grpc-js'
import { readTlsIdentity, type TlsIdentity } from './tls.ts'

type Listeners = {
  readonly ca: Set<experimental.CaCertificateUpdateListener>
  readonly identity: Set<experimental.IdentityCertificateUpdateListener>
}

/** An identity whose files are read again when they change. Disposing it ends that. */
export interface LiveIdentity extends TlsIdentity, Disposable {
  /** New connections, in and out, take what it says at that moment; those that are open stay. */
  readonly provider: experimental.CertificateProvider
  isRevoked(serialNumber: string): boolean
  /** Looks at the files now. */
  look(): void
}

export interface IdentityFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
  /** List of certificates that no longer count; empty or absent for none. */
  readonly revoked?: string
}

export interface LiveIdentityOptions {
  /** Milliseconds between two looks at the files; default 2,000. */
  readonly every?: number
  /** Hears that files changed and were taken over. */
  readonly onChange?: () => void
  /** Hears why what is in the files now cannot be used; what they said before holds. */
  readonly onError?: (error: unknown) => void
}

/**
 * Reads an identity and keeps it as the files are. A certificate and the key to it are taken over together: while one
 * of them is new and the other is not, both stay what they were.
 *
 * @throws Error at first, when a file cannot be read or key and certificate do not fit
 */
export function watchTlsIdentity(files: IdentityFiles, options: LiveIdentityOptions = {}): LiveIdentity {
  const listeners: Listeners = { ca: new Set(), identity: new Set() }
  let stamp = stampOf(files)
  let now = read(files)
  let refused = ''

  function look(): void {
    const next = stampOf(files)
    if (next === stamp || next === refused) return
    try {
      now = read(files)
    } catch (error) {
      refused = next
      options.onError?.(error)
      return
    }
    stamp = next
    refused = ''
    for (const listener of listeners.ca) listener(ca())
    for (const listener of listeners.identity) listener(identity())
    options.onChange?.()
  }
  const ca = () => ({ caCertificate: Buffer.from(now.ca) })
  const identity = () => ({ certificate: Buffer.from(now.cert), privateKey: Buffer.from(now.key) })
  const timer = setInterval(look, options.every ?? 2_000)
  timer.unref()

  return {
    get ca() {
      return now.ca
    },
    get cert() {
      return now.cert
    },
    get key() {
      return now.key
    },
    // Whoever begins to listen hears what there is a moment later: grpc-js is not ready for it before.
    provider: {
      addCaCertificateListener(listener) {
        listeners.ca.add(listener)
        process.nextTick(() => listener(ca()))
      },
      removeCaCertificateListener: (listener) => void listeners.ca.delete(listener),
      addIdentityCertificateListener(listener) {
        listeners.identity.add(listener)
        process.nextTick(() => listener(identity()))
      },
      removeIdentityCertificateListener: (listener) => void listeners.identity.delete(listener),
    },
    isRevoked: (serialNumber) => now.revoked.has(canonical(serialNumber)),
    look,
    [Symbol.dispose]: () => clearInterval(timer),
  }
}

function read(files: IdentityFiles): TlsIdentity & { readonly revoked: ReadonlySet<string> } {
  const tls = readTlsIdentity(files)
  createSecureContext({ ca: tls.ca, cert: tls.cert, key: tls.key })
  return { ...tls, revoked: revokedIn(files.revoked ?? '') }
}

/** A line for each: the serial number in hexadecimal digits, then whatever tells people whose it is; `#` comments. */
function revokedIn(path: string): ReadonlySet<string> {
  if (path === '') return new Set()
  const serials = readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim().split(/\s+/)[0] ?? '')
    .filter((word) => word !== '')
  const wrong = serials.find((serial) => !/^[0-9A-Fa-f:]+$/.test(serial))
  if (wrong !== undefined) throw new Error(`${path}: ${JSON.stringify(wrong)} is no serial number`)
  return new Set(serials.map(canonical))
}

const canonical = (serial: string) => serial.replaceAll(':', '').toUpperCase().replace(/^0+/, '')

/** Changes when any of the files does. */
function stampOf(files: IdentityFiles): string {
  return [files.ca, files.cert, files.key, files.revoked ?? '']
    .map((path) => {
      if (path === '') return ''
      const found = statSync(path, { throwIfNoEntry: false, bigint: true })
      return found === undefined ? 'gone' : `${found.ino} ${found.size} ${found.mtimeNs}`
    })
    .join(', ')
}
