import { expect, it } from 'vitest'
import { mountSources, parseReference, sourceLabels } from './index.ts'

const digest = `sha256:${'0'.repeat(64)}`

it.each([
  ['docker.io/library/busybox:latest', 'docker.io', 'library/busybox', 'latest', undefined],
  ['localhost:5000/busybox', 'localhost:5000', 'busybox', undefined, undefined],
  [`[::1]:5000/a/b__c-d.e@${digest}`, '[::1]:5000', 'a/b__c-d.e', undefined, digest],
  [`quay.io/a/b:v1@${digest}`, 'quay.io', 'a/b', 'v1', digest],
])('takes %s apart', (text, host, repository, tag, wanted) => {
  expect(parseReference(text)).toEqual({ text, host, repository, tag, digest: wanted })
})

it.each([
  '',
  'busybox',
  '/a',
  'quay.io/',
  'quay.io/A',
  'quay.io/a:',
  'quay.io/a@sha256:0',
  'quay.io/../a',
  'a b/c',
  'quay.io/a?b',
])('refuses %j', (text) => {
  expect(() => parseReference(text)).toThrow(/^invalid reference .*: invalid argument$/)
})

it('labels content with where it came from', () => {
  const label = 'containerd.io/distribution.source.localhost'
  const reference = parseReference('localhost:5000/b/x:1')
  expect(sourceLabels(reference)).toEqual({ [label]: 'b/x' })
  expect(sourceLabels(reference, { [label]: 'b/x,c,a' })).toEqual({ [label]: 'a,b/x,c' })
  expect(mountSources(reference, { [label]: 'a,b/x,b/y/z,c' })).toEqual(['b/y/z', 'a', 'c'])
  expect(mountSources(reference, { 'containerd.io/distribution.source.quay.io': 'a' })).toEqual([])
})
