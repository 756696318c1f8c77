import type { Call } from './call.ts'
import type { Field } from './http2/hpack.ts'

/** What the headers of a gRPC request say. */
export interface GrpcHeaders extends Pick<Call, 'namespace' | 'lease' | 'metadata'> {
  /** `/SERVICE/METHOD` */
  readonly path: string
  /** Whether they are against RFC 9113, section 8.2 and 8.3. */
  readonly malformed: boolean
  /** HTTP status to refuse it with: it is no gRPC. */
  readonly refuse: number | undefined
  /** Milliseconds until its client's deadline; undefined without one, NaN when it cannot be read. */
  readonly timeout: number | undefined
  /** How messages with a set flag are compressed. */
  readonly encoding: string
}

export const namespaceKey = 'containerd-namespace'
export const leaseKey = 'containerd-lease'

/** The transport's own; all others go on with the call. */
const consumed = new Set(['grpc-timeout', 'grpc-encoding', 'grpc-accept-encoding', 'accept-encoding', 'te', 'host'])

const milliseconds: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 }

// The decoder gives the same array for the same block: clients that call again and again need not be read again.
const known = new WeakMap<readonly Field[], GrpcHeaders>()

/** Reads the headers of a request; the first value of a name counts. */
export function grpcHeaders(fields: readonly Field[]): GrpcHeaders {
  const before = known.get(fields)
  if (before) return before
  const first = new Map<string, string>()
  for (const [name, value] of fields) if (!first.has(name)) first.set(name, value)
  const contentType = first.get('content-type') ?? ''
  const metadata = new Map<string, string>()
  for (const [name, value] of first) {
    if (name.startsWith(':') || name.endsWith('-bin') || name === 'content-type' || consumed.has(name)) continue
    if (name !== namespaceKey && name !== leaseKey) metadata.set(name, value)
  }
  const headers: GrpcHeaders = {
    path: first.get(':path') ?? '',
    malformed: isMalformed(fields),
    refuse: first.get(':method') !== 'POST' ? 405 : /^application\/grpc(?:$|[+;])/.test(contentType) ? undefined : 415,
    timeout: timeoutOf(first.get('grpc-timeout')),
    encoding: first.get('grpc-encoding') ?? 'identity',
    namespace: joined(first.get(namespaceKey)),
    lease: joined(first.get(leaseKey)),
    metadata,
  }
  known.set(fields, headers)
  return headers
}

/** Clients on Node's http2, gateways of ours among them, send what came twice as one value. */
const joined = (value: string | undefined) => value?.split(', ', 1)[0]

function timeoutOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? []
  return Number(digits) * (milliseconds[unit] ?? Number.NaN)
}

const pseudo = new Set([':method', ':path', ':scheme', ':authority'])
/** Of HTTP/1, and without a meaning here. */
const ofConnections = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'])

function isMalformed(fields: readonly Field[]): boolean {
  const seen = new Set<string>()
  let plain = false
  for (const [name, value] of fields) {
    if (name.startsWith(':')) {
      if (plain || seen.has(name) || !pseudo.has(name)) return true
      seen.add(name)
    } else {
      plain = true
      if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) || ofConnections.has(name)) return true
      if (name === 'te' && value !== 'trailers') return true
    }
    if (/[\0\r\n]/.test(value)) return true
  }
  return !seen.has(':method') || !seen.has(':path')
}
