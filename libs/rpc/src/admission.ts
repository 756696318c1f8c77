import type { PeerCertificate } from 'node:tls'
import type { Call } from './call.ts'
import type { MethodDefinition, ServiceDefinition } from './service.ts'

/** Who is at the other end of a connection. */
export interface Caller {
  /**
   * The certificate that a caller over TLS showed, checked against the authorities. Absent over a plain connection,
   * which only this machine's users have.
   */
  readonly certificate: PeerCertificate | undefined
}

export interface CallTarget {
  readonly definition: ServiceDefinition
  readonly method: MethodDefinition
}

/** What becomes of a call that is let in. */
export interface Admission {
  /** The call as its method sees it. */
  readonly call: Call
  /** Looks at each request before the method does; throws to refuse it. */
  readonly checkRequest?: ((request: unknown) => void) | undefined
  /** Gives each answer as the caller may see it, or undefined to leave it out of a stream. */
  readonly filterAnswer?: ((answer: unknown) => unknown) | undefined
}

/** Decides on each call before its method sees it. Throws to refuse it. */
export type Admit = (call: Call, target: CallTarget, caller: Caller) => Admission

/** Lets every call in as it is. */
export const plainly: Admit = (call) => ({ call })
