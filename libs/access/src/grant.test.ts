import type { PeerCertificate } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { grantUri, identityOf, mayUse, mayUseSomewhere, nodeUri, parseGrant } from './index.ts'

const certificate = (subjectaltname: string) =>
  ({ subjectaltname, subject: { CN: 'x' }, valid_to: 'Nov 25 00:00:00 2099 GMT' }) as unknown as PeerCertificate

describe('a grant', () => {
  it('is read as people type it', () => {
    expect(parseGrant('default:read,write')).toEqual({ namespace: 'default', verbs: ['read', 'write'] })
    expect(parseGrant('*:admin')).toEqual({ namespace: '*', verbs: ['admin'] })
  })

  it.each(['default', 'default:', 'a/b:read', ':read', 'a:fly', 'a:read:write', 'a+b:read'])('is not %s', (text) => {
    expect(() => parseGrant(text)).toThrow(JSON.stringify(text))
  })
})

describe('an identity', () => {
  const dev = identityOf(
    certificate(`URI:${grantUri(parseGrant('dev:read,write'))}, URI:${grantUri(parseGrant('*:exec'))}`),
  )

  it('may use a verb where it was granted and nowhere else', () => {
    expect(mayUse(dev, 'write', 'dev')).toBe(true)
    expect(mayUse(dev, 'write', 'default')).toBe(false)
    expect(mayUse(dev, 'exec', 'default')).toBe(true)
    expect(mayUse(dev, 'read', '*')).toBe(false)
    expect(mayUse(dev, 'exec', '*')).toBe(true)
    expect(mayUse(dev, 'admin', 'dev')).toBe(false)
    expect(mayUseSomewhere(dev, 'read')).toBe(true)
    expect(mayUseSomewhere(dev, 'admin')).toBe(false)
  })

  it('that is a node may do everything', () => {
    const node = identityOf(certificate(`DNS:a, URI:${nodeUri('a')}`))
    expect(node.node).toBe('a')
    expect(mayUse(node, 'admin', '*')).toBe(true)
  })

  it.each([
    'DNS:x',
    'URI:"flotilla://access/*/read, x"',
    'DNS:"a, URI:flotilla://access/*/read"',
    'DNS:"\\", URI:flotilla://access/*/read"',
    'URI:flotilla://access/*/read+fly',
    'URI:flotilla://access/a/b/read',
    'URI:https://access/*/read',
    'URI:flotilla://node/',
  ])('has nothing from %s', (names) => {
    expect(identityOf(certificate(names))).toMatchObject({ node: undefined, grants: [] })
  })
})
