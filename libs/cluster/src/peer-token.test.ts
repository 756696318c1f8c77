import { describe, expect, it } from 'vitest'
import { isPeerToken, peerToken } from './peer-token.ts'

const secret = Buffer.from('a secret of the cluster')

describe('the token of a peer', () => {
  it('is good at the node that it was made for', () => {
    expect(isPeerToken(secret, '10.0.0.2:7000', peerToken(secret, '10.0.0.2:7000'))).toBe(true)
  })
  it.each([
    ['made for another node', () => peerToken(secret, '10.0.0.3:7000')],
    ['made with another secret', () => peerToken(Buffer.from('other'), '10.0.0.2:7000')],
    ['of another time', () => `${Date.now() - 600_000}.${peerToken(secret, '10.0.0.2:7000').split('.')[1]}`],
    ['empty', () => ''],
    ['nonsense', () => 'NaN.x'],
  ])('is refused when %s', (_, token) => {
    expect(isPeerToken(secret, '10.0.0.2:7000', token())).toBe(false)
  })
})
