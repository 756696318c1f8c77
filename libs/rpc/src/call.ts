import type { AnswerRooms } from './answer-rooms.ts'
import { failedPrecondition } from './errors.ts'
import { validateIdentifier } from './identifier.ts'

/**
 * What comes with a request beside its message. The same object goes on unchanged when a service calls another on the
 * caller's behalf, so cancellation, deadline, namespace and lease travel with the work.
 */
export interface Call {
  /** Metadata `containerd-namespace` as it came, not yet validated; see {@link requireNamespace}. */
  readonly namespace: string | undefined
  /** Metadata `containerd-lease`: a lease id. */
  readonly lease: string | undefined
  /** Aborted when the client cancels, disconnects or its deadline passes. */
  readonly signal: AbortSignal
  /** Milliseconds since the epoch after which nobody waits for the answer. */
  readonly deadline: number | undefined
  /** All other text metadata, names in lower case. */
  readonly metadata: ReadonlyMap<string, string>
  /** Memory for answers with many bytes; absent where no server of this process sends them. */
  readonly rooms?: AnswerRooms | undefined
}

export interface CallOptions {
  readonly namespace?: string | undefined
  readonly lease?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Milliseconds from now. */
  readonly timeout?: number | undefined
  readonly metadata?: ReadonlyMap<string, string> | Record<string, string>
}

const never = new AbortController().signal

/** A call of our own making, for work that no client request stands behind (collection, recovery, tests). */
export function makeCall(options: CallOptions = {}): Call {
  const deadline = options.timeout === undefined ? undefined : Date.now() + options.timeout
  const timer = options.timeout === undefined ? undefined : AbortSignal.timeout(options.timeout)
  const signals = [options.signal, timer].filter((signal) => signal !== undefined)
  const metadata = options.metadata ?? {}
  return {
    namespace: options.namespace,
    lease: options.lease,
    signal: signals.length === 0 ? never : AbortSignal.any(signals),
    deadline,
    metadata: metadata instanceof Map ? metadata : new Map(Object.entries(metadata)),
  }
}

/** The same call with some parts replaced; `lease: undefined` given explicitly drops the lease. */
export function withCall(call: Call, changes: Partial<Call>): Call {
  return { ...call, ...changes }
}

/**
 * The namespace of a call that needs one. FAILED_PRECONDITION when it is absent, INVALID_ARGUMENT when it is not an
 * identifier.
 */
export function requireNamespace(call: Call): string {
  if (call.namespace === undefined || call.namespace === '') throw failedPrecondition('namespace is required')
  validateIdentifier(call.namespace, 'namespace validation: ')
  return call.namespace
}
