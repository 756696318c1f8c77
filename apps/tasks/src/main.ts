import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'tasks', about: 'the tasks service in a process of its own', parts: [part.tasks] })
