#!/usr/bin/env node
import { cliProcess } from './cli.js';

await cliProcess();
