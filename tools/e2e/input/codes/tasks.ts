import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { CreateTaskRequest, TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { all, ask, type Case, code, container } from './case.ts'

export const tasksCases: readonly Case[] = [
  {
    what: 'task get of what is not there',
    ask: (c, call) => c.of(TasksDefinition).get({ containerId: 'none', execId: '' }, call),
    code: code.NOT_FOUND,
    message: /none/,
  },
  {
    what: 'task create for no container',
    ask: (c, call) => c.of(TasksDefinition).create(CreateTaskRequest.fromPartial({ containerId: 'none' }), call),
    code: code.NOT_FOUND,
    message: /container "none" in namespace "e2e-\w+": not found/,
  },
  {
    what: 'task kill of what is not there',
    ask: (c, call) => c.of(TasksDefinition).kill({ containerId: 'none', execId: '', signal: 9, all: false }, call),
    code: code.NOT_FOUND,
    message: /none/,
  },
  {
    what: 'task start of what is not there',
    ask: ask(TasksDefinition, 'start', { containerId: 'none', execId: '' }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task delete of what is not there',
    ask: ask(TasksDefinition, 'delete', { containerId: 'none' }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task deleteProcess of what is not there',
    ask: ask(TasksDefinition, 'deleteProcess', { containerId: 'none', execId: 'e' }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task exec of what is not there',
    ask: ask(TasksDefinition, 'exec', {
      containerId: 'none',
      execId: 'e',
      terminal: false,
      stdin: '',
      stdout: '',
      stderr: '',
      spec: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Process', value: Buffer.from('{}') },
    }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task resizePty of what is not there',
    ask: ask(TasksDefinition, 'resizePty', { containerId: 'none', execId: '', width: 1, height: 1 }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task closeIO of what is not there',
    ask: ask(TasksDefinition, 'closeIO', { containerId: 'none', execId: '', stdin: true }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task pause of what is not there',
    ask: ask(TasksDefinition, 'pause', { containerId: 'none' }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task resume of what is not there',
    ask: ask(TasksDefinition, 'resume', { containerId: 'none' }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task listPids of what is not there',
    ask: ask(TasksDefinition, 'listPids', { containerId: 'none' }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task wait of what is not there',
    ask: ask(TasksDefinition, 'wait', { containerId: 'none', execId: '' }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task update of what is not there',
    ask: ask(TasksDefinition, 'update', { containerId: 'none', annotations: {} }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task checkpoint of what is not there',
    ask: ask(TasksDefinition, 'checkpoint', { containerId: 'none', parentCheckpoint: '' }),
    code: code.NOT_FOUND,
    message: /none.*not found/,
  },
  {
    what: 'task create in the runtime io.containerd.no-such-thing.v1',
    before: all(
      ask(
        ContainersDefinition,
        'create',
        container({
          runtime: { name: 'io.containerd.no-such-thing.v1' },
          spec: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from('{}') },
        }),
      ),
    ),
    ask: (c, call) => c.of(TasksDefinition).create(CreateTaskRequest.fromPartial({ containerId: 'c' }), call),
    code: code.FAILED_PRECONDITION,
    message: /no-such-thing/,
    ours: 'each release has another code for it',
  },
  {
    what: 'task create in the runtime /no/such/shim',
    before: all(
      ask(
        ContainersDefinition,
        'create',
        container({
          runtime: { name: '/no/such/shim' },
          spec: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from('{}') },
        }),
      ),
    ),
    ask: (c, call) => c.of(TasksDefinition).create(CreateTaskRequest.fromPartial({ containerId: 'c' }), call),
    code: code.FAILED_PRECONDITION,
    message: /\/no\/such\/shim/,
    ours: 'each release has another code for it',
  },
  {
    what: 'task create in the runtime nonsense',
    before: all(
      ask(
        ContainersDefinition,
        'create',
        container({
          runtime: { name: 'nonsense' },
          spec: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from('{}') },
        }),
      ),
    ),
    ask: (c, call) => c.of(TasksDefinition).create(CreateTaskRequest.fromPartial({ containerId: 'c' }), call),
    code: code.INVALID_ARGUMENT,
    message: /nonsense/,
    ours: 'each release has another code for it',
  },
  {
    what: 'task create in the runtime ../../bin/sh',
    before: all(
      ask(
        ContainersDefinition,
        'create',
        container({
          runtime: { name: '../../bin/sh' },
          spec: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from('{}') },
        }),
      ),
    ),
    ask: (c, call) => c.of(TasksDefinition).create(CreateTaskRequest.fromPartial({ containerId: 'c' }), call),
    code: code.INVALID_ARGUMENT,
    message: /sh/,
    ours: 'each release has another code for it',
  },
]
