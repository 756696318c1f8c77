import { type Admit, type Call, permissionDenied, requireNamespace, withCall } from '@flotilla/rpc'
import type { Verb } from './grant.ts'
import { type Identity, identityOf, mayUse, mayUseSomewhere } from './identity.ts'
import { hides, namedBy, without } from './named.ts'
import { ruleOf } from './rules.ts'

/** Metadata that says who called over the network; a service that sees it gives nothing away on a digest's word. */
export const callerHeader = 'flotilla-caller'

// Of our own metadata, what a client may send. The rest is between nodes.
const forClients = new Set(['flotilla-node', 'flotilla-from-sequence', 'flotilla-from-time', 'flotilla-event-node'])

/**
 * Lets a caller do what its certificate says. Callers without one come over a plain connection, which only root of this
 * machine has, and may do everything.
 */
export const gate: Admit = (call, { definition, method }, { certificate }) => {
  if (certificate === undefined) return { call }
  const identity = identityOf(certificate)
  const name = `${definition.fullName}/${method.name}`
  if (identity.expiresAt < Date.now()) throw permissionDenied(`the certificate of "${identity.name}" has expired`)
  // A node also passes on what its clients asked for, after it has admitted them.
  if (identity.node !== undefined) return { call }
  const rule = ruleOf(definition.fullName, method.name)
  const admitted = { call: withCaller(call, identity) }
  if (rule === 'anyone') return admitted
  if (rule === undefined || rule === 'node') throw permissionDenied(`"${identity.name}" may not call ${name}`)
  const [verb, scope] = rule.split(' ') as [Verb, string | undefined]
  if (scope === undefined) demand(identity, verb, requireNamespace(call))
  else if (scope === 'cluster') demand(identity, verb, '*')
  else if (scope === 'somewhere' && !mayUseSomewhere(identity, verb))
    throw permissionDenied(`"${identity.name}" may not ${verb} in any namespace`)
  return {
    ...admitted,
    checkRequest: scope === 'named' ? (request) => demand(identity, verb, namedBy(name, request)) : undefined,
    filterAnswer: hides(name)
      ? (answer) => without(name, answer, (namespace) => mayUse(identity, 'read', namespace))
      : undefined,
  }
}

function demand(identity: Identity, verb: Verb, namespace: string): void {
  if (mayUse(identity, verb, namespace)) return
  const where = namespace === '*' ? 'the whole cluster' : `namespace "${namespace}"`
  throw permissionDenied(`"${identity.name}" may not ${verb} in ${where}`)
}

function withCaller(call: Call, identity: Identity): Call {
  const kept = [...call.metadata].filter(([key]) => !key.startsWith('flotilla-') || forClients.has(key))
  // Metadata is ASCII.
  return withCall(call, { metadata: new Map([...kept, [callerHeader, encodeURIComponent(identity.name)]]) })
}
