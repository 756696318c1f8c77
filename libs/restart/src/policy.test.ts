import { expect, test } from 'vitest'
import { parsePolicy, wantsRestart } from './policy.ts'
import { logUriOf } from './start-task.ts'

test.each([
  ['', { name: 'always', maxRetries: 0 }],
  ['no', { name: 'no', maxRetries: 0 }],
  ['unless-stopped', { name: 'unless-stopped', maxRetries: 0 }],
  ['on-failure', { name: 'on-failure', maxRetries: 0 }],
  ['on-failure:3', { name: 'on-failure', maxRetries: 3 }],
  ['on-failure:x', undefined],
  ['on-failure:1:2', undefined],
  ['always:3', undefined],
  ['sometimes', undefined],
])('policy %j', (text, policy) => {
  expect(parsePolicy(text)).toEqual(policy)
})

const labels = (policy: string, more: Record<string, string> = {}) => ({
  'containerd.io/restart.policy': policy,
  ...Object.fromEntries(Object.entries(more).map(([key, value]) => [`containerd.io/restart.${key}`, value])),
})

test.each([
  [labels('always'), 0, true],
  [{}, 1, true],
  [labels('no'), 1, false],
  [labels('nonsense'), 1, false],
  [labels('on-failure'), 0, false],
  [labels('on-failure', { count: '99' }), 1, true],
  [labels('on-failure:2', { count: '1' }), 1, true],
  [labels('on-failure:2', { count: '2' }), 1, false],
  [labels('on-failure:2', { count: 'x' }), 1, false],
  [labels('unless-stopped'), 0, true],
  [labels('unless-stopped', { 'explicitly-stopped': 'true' }), 1, false],
  [labels('unless-stopped', { 'explicitly-stopped': 'false' }), 1, true],
  [labels('always', { 'explicitly-stopped': 'true' }), 1, false],
  [labels('on-failure', { 'explicitly-stopped': 'true' }), 1, false],
])('%j after status %i: %j', (given, exitStatus, wanted) => {
  expect(wantsRestart(given, exitStatus)).toBe(wanted)
})

test('the output goes to the URI, or to the path of old', () => {
  expect(logUriOf({})).toBe('')
  expect(logUriOf(labels('', { logpath: '/var/log/a b' }))).toBe('file:///var/log/a%20b')
  expect(logUriOf(labels('', { loguri: 'binary:///x?a=b', logpath: '/y' }))).toBe('binary:///x?a=b')
})
