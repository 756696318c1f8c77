import type { Envelope } from '@flotilla/api/containerd/types/types'

/**
 * Requests and answers that tell of namespaces in their messages rather than in the call's metadata, by
 * `SERVICE/METHOD`. The types are those of the methods' messages.
 */
interface Telling {
  /** The namespace that a request is about. */
  readonly named?: (request: never) => string
  /** An answer without what is in namespaces that the caller may not read; undefined: nothing is left of it. */
  readonly without?: (answer: never, readable: (namespace: string) => boolean) => unknown
}

const ofEnvelope = (message: { envelope?: Envelope | undefined }) => message.envelope?.namespace ?? ''
const ofNamespace = (message: { namespace?: { name: string } | undefined }) => message.namespace?.name ?? ''
const namespaces = 'containerd.services.namespaces.v1.Namespaces'

const telling: Readonly<Record<string, Telling>> = {
  [`${namespaces}/Get`]: { named: (request: { name: string }) => request.name },
  [`${namespaces}/Delete`]: { named: (request: { name: string }) => request.name },
  [`${namespaces}/Create`]: { named: ofNamespace },
  [`${namespaces}/Update`]: { named: ofNamespace },
  [`${namespaces}/List`]: {
    without: (answer: { namespaces: ReadonlyArray<{ name: string }> }, readable) => ({
      ...answer,
      namespaces: answer.namespaces.filter(({ name }) => readable(name)),
    }),
  },
  'containerd.services.events.v1.Events/Forward': { named: ofEnvelope },
  'containerd.services.events.v1.Events/Subscribe': {
    without: (envelope: Envelope, readable) => (readable(envelope.namespace) ? envelope : undefined),
  },
  'flotilla.events.v1.Log/Read': {
    without: (entry: { envelope?: Envelope | undefined }, readable) =>
      readable(ofEnvelope(entry)) ? entry : undefined,
  },
}

export function namedBy(method: string, request: unknown): string {
  return telling[method]?.named?.(request as never) ?? ''
}

export function hides(method: string): boolean {
  return telling[method]?.without !== undefined
}

export function without(method: string, answer: unknown, readable: (namespace: string) => boolean): unknown {
  return telling[method]?.without?.(answer as never, readable)
}
