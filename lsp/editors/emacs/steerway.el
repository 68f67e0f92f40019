;;; steerway.el --- Suggestions from `steerway lsp' -*- lexical-binding: t; -*-

;; lsp-mode 9.0.1 or later draws ghost text; eglot, which has one server per mode, gets a menu item instead.
;; Load this file from your init file, then `M-x lsp' (or `M-x eglot') in a buffer.

;;; Code:

(defvar steerway-command '("steerway" "lsp") "The language server.")

(with-eval-after-load 'lsp-mode
  (require 'lsp-inline-completion)
  (lsp-register-client
   (make-lsp-client
    :new-connection (lsp-stdio-connection (lambda () steerway-command))
    :activation-fn (lambda (&rest _) (derived-mode-p 'prog-mode 'text-mode))
    :server-id 'steerway
    :priority -2
    :add-on? t))                        ; beside the language's own server
  (add-hook 'lsp-mode-hook #'lsp-inline-completion-mode)
  (setq lsp-inline-completion-idle-delay 0.2))

(with-eval-after-load 'eglot
  (dolist (mode '(python-mode python-ts-mode))
    (add-to-list 'eglot-server-programs (cons mode steerway-command) t)))

(provide 'steerway)
;;; steerway.el ends here
