import { describe, expect, it } from 'vitest'
import { onlyLocal } from './network.ts'

describe('without certificates', () => {
  it.each(['unix:///run/x.sock', '127.0.0.1:7001', '127.9.9.9:0', '[::1]:7001', 'localhost:7001'])(
    '%s may be listened on',
    (address) => {
      expect(() => onlyLocal(address)).not.toThrow()
    },
  )
  it.each([
    '0.0.0.0:7001',
    '[::]:7001',
    ':7001',
    '10.0.0.1:7001',
    'images:7001',
    '127.0.0.1.example:1',
    '[::ffff:10.0.0.1]:1',
  ])('%s may not', (address) => {
    expect(() => onlyLocal(address)).toThrow(`${address} can be reached from other machines`)
  })
})
